"""Pictures to learn from. `loading.load_dataset` is the one door; it needs no TensorFlow."""
