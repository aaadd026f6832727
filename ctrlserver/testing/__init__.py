"""The test peer: a real server in a test of a network client, and the plugin of pytest."""
