"""What our programs share where a person types: signals, exit codes, standard streams, click's words."""
