"""`make demo`: the main job from nothing, on real pictures."""
