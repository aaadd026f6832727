"""ctrlstat: one or many servers asked at once, and their replies side by side."""
