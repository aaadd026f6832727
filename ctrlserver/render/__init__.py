"""PURE: records to bytes."""
