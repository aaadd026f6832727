"""The admin port: a pure dialogue, one class per command, and a thin shell."""
