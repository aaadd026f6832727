"""Several processes that send one load."""
