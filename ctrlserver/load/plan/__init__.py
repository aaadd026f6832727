"""PURE: what is to be sent, and when."""
