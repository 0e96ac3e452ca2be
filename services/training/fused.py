"""A model that takes raw uint8 pictures, whatever it was made of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.common.models.artefacts import Artefact
from services.common.models.normalisation import Normalisation


@dataclass(frozen=True, slots=True)
class Fused:
    """A model with casting and normalising in its graph, and how it becomes artefacts."""

    predict: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
    """uint8 [n, height, width, channels] to float32 scores [n, classes], n of some dozens."""
    save: Callable[[Path], Artefact] | None
    """Writes it in its own form into a version's folder; None: it has no form but LiteRT's."""
    converters: Sequence[Callable[[Path], None]]
    """Ways to write it as a .tflite file, the best first; they raise what they like."""


def check_fit(normalisation: Normalisation, dtype: str, channels: int) -> None:
    """Raise InvalidRequestError when a model's input cannot be normalised so.

    `dtype` is that of its input, such as "float32".
    """
    normalisation.check_channels(channels)
    if dtype == "uint8" and normalisation.mode != "none":
        raise InvalidRequestError(
            "the model takes uint8 pictures and normalises them itself: "
            "its preprocessing must be 'none'"
        )
