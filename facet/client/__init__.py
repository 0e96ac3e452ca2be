"""The calling side: what the command line is made of."""
