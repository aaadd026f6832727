"""Injections at work: what was ordered of each listener, and what carries it out."""
