"""What servers have kept: their runs exported, and two of them side by side."""
