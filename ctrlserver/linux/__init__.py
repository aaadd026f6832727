"""System calls that the standard library lacks; each is None where the system has none."""
