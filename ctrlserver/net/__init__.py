"""The Twisted shell of the data plane: thin, no arithmetic."""
