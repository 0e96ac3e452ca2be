"""How a model wants its pictures normalised, told from the model.

What a network was trained on is written nowhere in most files. It can be seen where the network
normalises by itself, where its layers are those of an architecture of `keras.applications` (whose
published weights all want one mode), and from the scale of a quantised input.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.models.normalisation import Normalisation


@dataclass(frozen=True, slots=True)
class Assumed:
    """A normalisation that nobody chose, and what it was concluded from."""

    normalisation: Normalisation
    because: str


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """What a graph does with its input before all else: x * scale + offset, by the channel."""

    scale: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]

    @classmethod
    def nothing(cls) -> "Linear":
        """Return x itself."""
        return cls(np.ones(1), np.zeros(1))

    def times(self, factor: npt.ArrayLike) -> "Linear":
        """Return (x * scale + offset) * factor."""
        by = np.asarray(factor, np.float64).ravel()
        return Linear(self.scale * by, self.offset * by)

    def plus(self, summand: npt.ArrayLike) -> "Linear":
        """Return x * scale + offset + summand."""
        by = np.asarray(summand, np.float64).ravel()
        return Linear(self.scale + 0 * by, self.offset + by)


def none(because: str) -> Assumed:
    """Return that pictures are taken as they are."""
    return Assumed(Normalisation.preset("none"), because)


# Widths of the range that networks are trained on: 1 for 0 to 1, 4.4 for PyTorch's deviations.
_LEAST, _MOST = 0.9, 10.0
_UNIT: Final = Normalisation.custom((0.0,), 1 / 255)


def from_arithmetic(first: Linear) -> Assumed | None:
    """Conclude from what a graph does with its input first.

    Where that brings 0 to 255 to the width that networks are trained on, it takes pixels as they
    are; where it takes a mean off in the units of pixels, too. Where it would do so with 0 to 1,
    it takes pixels divided by 255.
    """
    scale = np.abs(first.scale)
    unchanged = np.allclose(first.scale, 1)
    if unchanged and np.allclose(first.offset, 0):
        return None
    if np.all((scale * 255 >= _LEAST) & (scale * 255 <= _MOST)):
        return none("the model itself brings pixels of 0 to 255 into its range")
    if unchanged and np.all((first.offset <= -50) & (first.offset >= -200)):
        return none("the model itself takes a mean off pixels of 0 to 255")
    if np.all((scale >= _LEAST) & (scale <= _MOST) & (np.abs(first.offset) <= _MOST)):
        return Assumed(_UNIT, "the model itself normalises values of 0 to 1")
    return None


# What only the networks of that family have among their layers, and the mode of its module's
# preprocess_input. Those that normalise by themselves (EfficientNet, ConvNeXt, MobileNetV3, ...)
# are seen by their first layers.
_FAMILIES: Final[Sequence[tuple[str, frozenset[str], str]]] = (
    ("MobileNetV2", frozenset({"Conv1", "bn_Conv1", "expanded_conv_depthwise"}), "tf"),
    ("MobileNet", frozenset({"conv1", "conv_dw_1", "conv_pw_1"}), "tf"),
    ("ResNetV2", frozenset({"conv1_pad", "conv1_conv", "conv2_block1_preact_bn"}), "tf"),
    ("ResNet", frozenset({"conv1_pad", "conv1_conv", "conv1_bn", "conv2_block1_1_conv"}), "caffe"),
    ("VGG", frozenset({"block1_conv1", "block1_conv2", "block1_pool"}), "caffe"),
    ("Xception", frozenset({"block1_conv1", "block2_sepconv1"}), "tf"),
    ("InceptionResNetV2", frozenset({"mixed_5b", "conv_7b"}), "tf"),
    ("InceptionV3", frozenset({"mixed0", "mixed10"}), "tf"),
    ("NASNet", frozenset({"stem_conv1", "stem_bn1"}), "tf"),
    ("DenseNet", frozenset({"conv2_block1_0_bn", "conv2_block1_concat", "pool2_pool"}), "torch"),
)


def from_layers(names: Collection[str]) -> Assumed | None:
    """Conclude from the names of a Keras model's layers."""
    for family, marks, mode in _FAMILIES:
        if marks <= set(names):
            return Assumed(Normalisation.preset(mode), f"its layers are those of Keras's {family}")
    return None


def from_quantisation(scale: float, zero_point: float) -> Assumed | None:
    """Conclude from the quantisation of an input, its zero point as for uint8.

    The converters' convention is that a pixel is the quantised value, so that the scale and the
    zero point say which range of values 0 to 255 stood for.
    """
    low, high = -zero_point * scale, (255 - zero_point) * scale
    seen = f"its quantised input stands for {low:.3g} to {high:.3g}"
    for normalisation, ends in (
        (Normalisation.preset("tf"), (-1.0, 1.0)),
        (_UNIT, (0.0, 1.0)),
        (Normalisation.preset("none"), (0.0, 255.0)),
    ):
        # The middle of -1 to 1 lies between two steps.
        if np.allclose((low, high), ends, rtol=0.01, atol=0.51 * scale):
            return Assumed(normalisation, seen)
    return None
