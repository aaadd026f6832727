"""What is ordered of workers."""
