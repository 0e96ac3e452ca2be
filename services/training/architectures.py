"""Networks by name. Each takes float32 pictures of 0 to 1 and gives a share for each class."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import keras

from services.common.errors import InvalidRequestError


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


ARCHITECTURES: Final[Mapping[str, Callable[[tuple[int, int, int], int], Any]]] = {"cnn": cnn}


def build(architecture: str, shape: tuple[int, int, int], classes: int) -> Any:
    """Return an untrained keras.Model; InvalidRequestError for an unknown architecture.

    It takes float32 [n, *shape] of 0 to 1 and gives float32 [n, classes].
    """
    if architecture not in ARCHITECTURES:
        raise InvalidRequestError(
            f"the model must be one of {', '.join(ARCHITECTURES)}, not {architecture!r}"
        )
    return ARCHITECTURES[architecture](shape, classes)
