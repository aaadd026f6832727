"""PURE: bytes to packets and back. No clock, no reactor, no socket."""
