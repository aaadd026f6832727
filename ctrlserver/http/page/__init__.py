"""The live page: its files, the library for its charts, and the events that it shows."""
