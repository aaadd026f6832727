"""The fast lane and its ticker: sockets and their owners, nothing of streams."""
