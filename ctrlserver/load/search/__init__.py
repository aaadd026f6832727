"""The highest good rate."""
