"""The result document, and what is judged by it."""
