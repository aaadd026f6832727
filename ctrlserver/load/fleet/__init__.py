"""Several processes, or the workers of a cluster, that send one load."""
