"""Outgoing streams: a class for each way of sending."""
