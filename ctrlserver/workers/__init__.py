"""Several processes that serve as one: what the parent and its workers tell each other."""
