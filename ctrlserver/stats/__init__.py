"""PURE: numbers. Time comes in as an argument."""
