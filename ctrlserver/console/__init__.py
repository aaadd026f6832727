"""What our programs share where a person types: signals, exit codes, the reactor, standard streams, click's words."""
