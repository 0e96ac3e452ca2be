"""What Facet costs and reaches, each figure against a reference measured in the same run."""
