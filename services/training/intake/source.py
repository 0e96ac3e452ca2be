"""What every kind of model file says of itself."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.common.models.normalisation import Normalisation
from services.training.fused import Fused
from services.training.intake.assumptions import Assumed

SCORE_TYPES: Final = ("float32", "float16", "bfloat16")
_PICTURE_TYPES: Final = (*SCORE_TYPES, "uint8")


def unsupported(message: str) -> InvalidRequestError:
    """Return the error for what a model is, as against for what was asked."""
    return InvalidRequestError(message, reason="UNSUPPORTED_MODEL")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a model takes: pictures of one size, or of any."""

    height: int | None
    width: int | None
    channels: int

    @classmethod
    def of(
        cls,
        shape: Sequence[int | None] | None,
        dtype: str,
        dtypes: Sequence[str] = _PICTURE_TYPES,
    ) -> "Pictures":
        """Return what an input of that shape takes, the batch first, None for any.

        Raises InvalidRequestError (UNSUPPORTED_MODEL) when that is no batch of pictures.
        """
        sides = tuple(shape or ())
        if len(sides) == 4 and sides[1] in (1, 3) and sides[3] not in (1, 3):
            raise unsupported(
                f"the model's input is {sides}: the channels come first, and they must come last"
            )
        if len(sides) != 4 or sides[0] is not None or sides[3] not in (1, 3):
            raise unsupported(
                "the model's input must be a batch of pictures, (None, height, width, channels) "
                f"with 1 or 3 channels, not {shape if shape is None else sides}"
            )
        if dtype not in dtypes:
            raise unsupported(
                f"the model's input must be floating-point or uint8 pictures, not {dtype}"
            )
        return cls(sides[1], sides[2], sides[3])

    def cut(self, *, resize: int, crop: int) -> InputSpec:
        """Return the input for pictures that are resized and cropped to that many pixels.

        0 means not given; a crop without a resize makes the shorter side the crop's. Raises
        InvalidRequestError when the cut does not give the model's input.
        """
        height, width = self.height or crop, self.width or crop
        if not (height and width):
            raise InvalidRequestError(
                "the model takes pictures of any size: choose one with --crop"
            )
        if crop and (height, width) != (crop, crop):
            raise InvalidRequestError(
                f"--crop must give the model's input, {height} x {width}, not {crop} x {crop}"
            )
        return InputSpec(height, width, self.channels, resize or crop)


def check_scores(shape: Sequence[int | None] | None, dtype: str) -> int:
    """Return the number of scores a picture of an output of that shape, the batch first.

    Raises InvalidRequestError (UNSUPPORTED_MODEL) when it is none of scores.
    """
    sides = tuple(shape or ())
    if len(sides) != 2 or not sides[1]:
        raise unsupported(
            f"the model's output must be (None, classes), not {shape if shape is None else sides}"
        )
    if dtype not in SCORE_TYPES:
        raise unsupported(f"the model's output must be floating-point, not {dtype}")
    return int(sides[1])


class Source(ABC):
    """A stranger's model, loaded and found to recognise pictures."""

    pictures: Pictures
    classes: int
    labels: Sequence[str] | None = None
    """What the file itself calls the classes, if it does."""

    @abstractmethod
    def assumed(self) -> Assumed | None:
        """Return how it wants its pictures normalised, as far as that can be seen."""

    @abstractmethod
    def fuse(self, spec: InputSpec, normalisation: Normalisation) -> Fused:
        """Return the model with that normalisation in its graph.

        Raises InvalidRequestError when the two don't fit.
        """
