"""One run, from the first connect to the last close."""
