"""Small Keras models that strangers might have saved."""

from pathlib import Path
from typing import Any

import keras

from services.training.conversion import without_warnings


def colour_net(activation: str | None = "softmax", *, dtype: str | None = None) -> Any:
    """Return a convolutional net on 12 x 10 RGB pictures with 4 classes."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            keras.layers.Conv2D(6, 3, activation="relu", dtype=dtype),
            keras.layers.BatchNormalization(dtype=dtype),
            keras.layers.GlobalAveragePooling2D(dtype=dtype),
            keras.layers.Dropout(0.5, dtype=dtype),
            keras.layers.Dense(4, activation=activation, dtype=dtype),
        ]
    )


def row_reader() -> Any:
    """Return an LSTM that reads 8 x 8 grey pictures row by row."""
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Reshape((8, 8)),
            keras.layers.LSTM(5),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )


def any_size() -> Any:
    """Return a net on RGB pictures of any size, with 2 classes."""
    return keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(2, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Softmax(),
        ]
    )


def save(model: Any, folder: Path) -> Path:
    """Save a model as a .keras file and return its path."""
    path = folder / "model.keras"
    model.save(path)
    return path


def save_hdf5(model: Any, path: Path) -> None:
    """Save a model in Keras's older format, without its advice against that."""
    with without_warnings():
        model.save(path)
