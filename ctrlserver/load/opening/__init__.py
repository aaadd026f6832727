"""Sockets opened, verified and greeted."""
