"""The log: which lines are written, in which form, and where to."""
