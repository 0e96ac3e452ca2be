"""Networks to train. `building.build` is the one door; importing any of these imports Keras."""
