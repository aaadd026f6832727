"""System calls that the standard library lacks; each is None on systems without it."""
