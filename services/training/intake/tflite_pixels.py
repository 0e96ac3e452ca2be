"""How raw pixels become a .tflite file's input: as numbers, or as quantised numbers."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.models.normalisation import Normalisation

LEVELS: Final = {"uint8": 0, "int8": 128}
"""Quantised types, and what is taken off a pixel to bring it into their range."""

_NEAR: Final = 0.51
_BIASES: Final = tuple(step / 64 for step in range(-8, 9))


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """Pixel p of channel k, after the channels were reversed if need be, becomes values[p, k]."""

    values: npt.NDArray[np.generic]
    """[256, channels], of the input's type."""
    bgr: bool
    shifted: bool
    """It is quantised, and its values are the pixels themselves, as that type holds them."""
    scale: npt.NDArray[np.float32]
    """[1] or [channels]: where not shifted, x * scale - offset, then quantised if need be."""
    offset: npt.NDArray[np.float32]

    def prepare(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.generic]:
        """Return the input for uint8 pictures [..., channels]."""
        ordered = images[..., ::-1] if self.bgr else images
        return np.ascontiguousarray(self.values[ordered, np.arange(images.shape[-1])])


def pixels_for(
    dtype: str, quantisation: tuple[float, int] | None, channels: int, normalisation: Normalisation
) -> Pixels:
    """Return how pixels become an input of a type, "float32", "uint8" or "int8".

    A quantised value stands for (value - zero point) * scale, of `quantisation`; without one, and
    with the preset "none", the pixel is the quantised value: the converters' convention.
    """
    scale = np.asarray(normalisation.scale, np.float32)
    offset = np.asarray(normalisation.offset, np.float32)
    every = np.repeat(np.arange(256, dtype=np.uint8)[:, np.newaxis], channels, axis=1)
    if dtype == "float32":
        values = every.astype(np.float32) * scale - offset
        return Pixels(values, normalisation.bgr, False, scale, offset)
    same = every.astype(np.int16) - LEVELS[dtype]
    if quantisation is None or normalisation.mode == "none":
        return Pixels(same.astype(dtype), normalisation.bgr, True, scale, offset)
    step, zero = quantisation
    exact = np.asarray((every * scale.astype(np.float64) - offset) / step + zero, np.float64)
    # -1 to 1 in 255 steps has every pixel half-way between two: then it is the pixel itself.
    if np.abs(exact - same).max() <= _NEAR:
        return Pixels(same.astype(dtype), normalisation.bgr, True, scale, offset)
    bias = max(_BIASES, key=lambda bias: (_distance(exact, bias), -abs(bias)))
    bounds = np.iinfo(dtype)
    values = np.clip(np.round(exact + bias), bounds.min, bounds.max).astype(dtype)
    return Pixels(values, normalisation.bgr, False, scale, offset - np.float32(bias * step))


def _distance(exact: npt.NDArray[np.float64], bias: float) -> float:
    """Return how far the nearest value is from where rounding turns, at most enough.

    A value at that place would be rounded one way here and the other way by another kernel.
    """
    moved = exact + bias
    nearest = np.abs(moved - np.floor(moved) - 0.5).min()
    return min(float(nearest), 1e-3)
