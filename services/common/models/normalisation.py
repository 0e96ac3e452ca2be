"""How uint8 pixels become the numbers that a network was trained on."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class Normalisation:
    """y = x * scale - offset, for pixels x of 0 to 255.

    The presets are the modes of `keras.applications.imagenet_utils.preprocess_input`.
    """

    mode: str
    """Name of the preset, or "custom"."""
    scale: tuple[float, ...]
    """One factor for all channels, or one a channel."""
    offset: tuple[float, ...]
    """One value for all channels, or one a channel; taken off after scaling."""
    bgr: bool = False
    """The channels are reversed, RGB to BGR, before all else."""

    def __post_init__(self) -> None:
        """Raise InvalidRequestError when the numbers make no sense."""
        for name, values in (("scale", self.scale), ("mean", self.offset)):
            if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
                raise InvalidRequestError(
                    f"the {name} must be 1 or 3 finite numbers, not {list(values)}"
                )
        if 0.0 in self.scale:
            raise InvalidRequestError("a scale of 0 makes every picture the same")

    @classmethod
    def preset(cls, mode: str) -> Self:
        """Return a preset: "tf", "torch", "caffe" or "none"; InvalidRequestError for another."""
        if mode not in _PRESETS:
            raise InvalidRequestError(
                f"preprocessing must be one of {', '.join(_PRESETS)}, not {mode!r}"
            )
        scale, offset, bgr = _PRESETS[mode]
        return cls(mode, scale, offset, bgr)

    @classmethod
    def custom(cls, mean: tuple[float, ...], scale: float = 1.0) -> Self:
        """Return y = (x - mean) * scale with the channels in RGB order; mean in units of x."""
        return cls("custom", (scale,), tuple(value * scale for value in mean))

    @classmethod
    def from_options(cls, mode: str | None, mean: str | None, scale: float | None) -> Self | None:
        """Return what a user chose: a preset's name, or a mean such as "123,117,104" and a scale.

        None when nothing was chosen. Raises InvalidRequestError.
        """
        if mean is None and scale is None:
            return None if mode is None else cls.preset(mode)
        if mode is not None:
            raise InvalidRequestError("give either --preprocessing or --mean and --scale")
        try:
            values = tuple(float(part) for part in (mean or "0").split(","))
        except ValueError:
            raise InvalidRequestError(
                f"--mean takes numbers joined by commas, not {mean!r}"
            ) from None
        return cls.custom(values, 1.0 if scale is None else scale)

    def __str__(self) -> str:
        """Return the name of the preset, or the formula."""
        if self.mode != "custom":
            return self.mode
        scale, offset = (
            ", ".join(f"{value:.4g}" for value in values) for values in (self.scale, self.offset)
        )
        return f"x * ({scale}) - ({offset})" if any(self.offset) else f"x * ({scale})"

    def check_channels(self, channels: int) -> None:
        """Raise InvalidRequestError when pictures of that many channels cannot be normalised so."""
        if channels == 1 and (self.bgr or len(self.scale) > 1 or len(self.offset) > 1):
            raise InvalidRequestError(
                f"preprocessing {self.mode!r} is for RGB pictures, and the model takes grey ones"
            )

    def apply(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the float32 values of uint8 pictures [..., channels]."""
        values = images[..., ::-1] if self.bgr else images
        scaled = values.astype(np.float32) * np.asarray(self.scale, np.float32)
        return np.asarray(scaled - np.asarray(self.offset, np.float32))


_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
_PRESETS: Final[Mapping[str, tuple[tuple[float, ...], tuple[float, ...], bool]]] = {
    "tf": ((1 / 127.5,), (1.0,), False),
    "torch": (
        tuple(1 / (255 * deviation) for deviation in _DEVIATION),
        tuple(mean / deviation for mean, deviation in zip(_MEAN, _DEVIATION, strict=True)),
        False,
    ),
    "caffe": ((1.0,), (103.939, 116.779, 123.68), True),
    "none": ((1.0,), (0.0,), False),
}
