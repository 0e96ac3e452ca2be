"""Other servers with the same model, each run by the interpreter of its own environment."""
