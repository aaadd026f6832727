"""How a running daemon is told something, changes and ends."""
