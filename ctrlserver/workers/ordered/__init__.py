"""Injections and answers over workers: what the parent says of them, and how a worker carries them out."""
