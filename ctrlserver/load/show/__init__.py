"""What people, CI systems and charts are shown of a run."""
