"""The rules that a result is held to, by subject."""
