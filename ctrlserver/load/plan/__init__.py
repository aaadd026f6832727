"""PURE: what a run sends, and when."""
