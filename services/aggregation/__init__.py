"""Turns the raw outputs of shards into answers: merges pieces in order, names the best classes."""
