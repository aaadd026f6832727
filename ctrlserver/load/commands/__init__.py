"""What is typed, and carrying it out: one file a subcommand."""
