"""One shard: owns one device, runs the batches that it was leased, reports its load."""
