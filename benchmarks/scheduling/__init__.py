"""The production scheduling policy in a virtual cluster, beside an omniscient reference."""
