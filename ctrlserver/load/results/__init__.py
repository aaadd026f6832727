"""The result document, and the judgements on it."""
