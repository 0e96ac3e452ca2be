"""A small convolutional network."""

from typing import Any

import keras


def cnn(shape: tuple[int, int, int], classes: int) -> Any:
    """One convolution, one pooling, one dense layer: enough for handwritten digits."""
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(32, (3, 3), activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="cnn",
    )
