"""The `facet` command."""
