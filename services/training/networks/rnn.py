"""A recurrent network that reads a picture as a person reads a page: row by row."""

from typing import Any, Final

import keras

UNITS: Final = 128


def rnn(shape: tuple[int, int, int], classes: int) -> Any:
    """An LSTM over the rows (https://doi.org/10.1162/neco.1997.9.8.1735), then a dense layer.

    Unrolled: the loop of a recurrent layer does not convert to LiteRT with a free batch size, its
    single steps do, and they train a quarter faster.
    """
    height, width, channels = shape
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Reshape((height, width * channels)),
            keras.layers.LSTM(UNITS, unroll=True),
            keras.layers.Dense(classes, activation="softmax"),
        ],
        name="rnn",
    )
