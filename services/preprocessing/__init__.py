"""Preprocessing: encoded pictures become the uint8 pixels that a model takes."""
