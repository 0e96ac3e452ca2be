"""How a picture becomes a model's input."""

from dataclasses import dataclass
from typing import Self

from facet.type.v1 import model_pb2
from services.common.errors import InvalidRequestError

MAX_SIDE = 4096


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The uint8 pixels that a model takes: height x width x channels, row-major.

    Casting and normalising are part of the model's own graph.
    """

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    resize_shorter_side: int = 0
    """The shorter side is resized to this many pixels (bilinear) before a centre crop to
    height x width; 0: the whole picture is stretched to height x width."""

    def __post_init__(self) -> None:
        """Raise InvalidRequestError when no picture could be prepared so."""
        if not (0 < self.height <= MAX_SIDE and 0 < self.width <= MAX_SIDE):
            raise InvalidRequestError(
                f"input height and width must be 1 to {MAX_SIDE} pixels, "
                f"not {self.height} x {self.width}"
            )
        if self.channels not in (1, 3):
            raise InvalidRequestError(f"input channels must be 1 or 3, not {self.channels}")
        longest = max(self.height, self.width)
        if self.resize_shorter_side and not longest <= self.resize_shorter_side <= MAX_SIDE:
            raise InvalidRequestError(
                f"resize must be 0 or {longest} to {MAX_SIDE} pixels, "
                f"not {self.resize_shorter_side}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels)"""
        return self.height, self.width, self.channels

    @property
    def nbytes(self) -> int:
        """Bytes of one prepared picture."""
        return self.height * self.width * self.channels

    @classmethod
    def from_message(cls, message: model_pb2.InputSpec) -> Self:
        """Return the spec of a message; InvalidRequestError when it makes no sense."""
        return cls(message.height, message.width, message.channels, message.resize_shorter_side)

    def to_message(self) -> model_pb2.InputSpec:
        """Return the spec as a message."""
        return model_pb2.InputSpec(
            height=self.height,
            width=self.width,
            channels=self.channels,
            resize_shorter_side=self.resize_shorter_side,
        )
