"""Decides which pieces run on which shard, and when. Sees descriptors, never a tensor."""
