"""PURE: what was counted and timed."""
