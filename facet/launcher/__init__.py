"""A whole cluster as processes of one machine: `facet up`, the demo and the tests."""
