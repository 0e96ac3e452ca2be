"""What can be set, told from the code that reads it: `facet settings`, docs/configuration.md."""
