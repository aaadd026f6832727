"""ctrlload, the load generator."""
