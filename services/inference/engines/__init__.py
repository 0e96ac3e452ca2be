"""What runs a model version on this process's device: one interface, several engines."""
