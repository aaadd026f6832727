"""The commands of the admin port."""
