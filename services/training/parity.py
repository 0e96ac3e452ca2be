"""Does a converted model still say the same?"""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.input_spec import InputSpec
from services.common.models.litert import LiteRtModel

TOLERANCE: Final = 1e-4
"""Largest difference of a score, as a share of the largest score and at least of 1."""

NOISE_EXAMPLES: Final = 4
REAL_EXAMPLES: Final = 16


class Comparison:
    """What .tflite files make of some pictures, beside the scores that are right."""

    def __init__(self, images: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]) -> None:
        self._images = images
        self._scores = scores
        self.difference = float("inf")
        """The largest one of the file that was accepted last, on the scale of TOLERANCE."""

    def accept(self, path: Path) -> str | None:
        """Say what is wrong with a file, or None."""
        try:
            with LiteRtModel(path, threads=1) as converted:
                # One batch and then single pictures: the batch size must really be free.
                batch = converted.predict(self._images)
                single = np.concatenate(
                    [converted.predict(one[np.newaxis]) for one in self._images]
                )
        except (ModelRefusedError, RuntimeError, ValueError) as error:
            return _first_sentence(str(error).replace(str(path), "the result"))
        worst = max(difference(self._scores, batch), difference(self._scores, single))
        if not worst <= TOLERANCE:
            return f"its scores differ by {worst:.2g}, and {TOLERANCE:.0g} is allowed"
        if not (same_winners(self._scores, batch) and same_winners(self._scores, single)):
            return "it prefers another class for some pictures"
        self.difference = worst
        return None


def difference(expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> float:
    """Return the largest difference of two score arrays [n, classes], on the scale of TOLERANCE."""
    if expected.shape != actual.shape:
        return float("inf")
    return float(np.abs(expected - actual).max() / max(1.0, float(np.abs(expected).max())))


def same_winners(expected: npt.NDArray[np.float32], actual: npt.NDArray[np.float32]) -> bool:
    """Tell whether both arrays [n, classes] name the same best class for every picture.

    Scores that lie within the tolerance of the best count as best too.
    """
    margin = 2 * TOLERANCE * max(1.0, float(np.abs(expected).max()))
    winners = actual.argmax(axis=1)
    scores = expected[np.arange(len(expected)), winners]
    return bool(np.all(scores >= expected.max(axis=1) - margin))


def probe_images(
    spec: InputSpec, real: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """Return uint8 pictures [n, height, width, channels] to compare two forms of a model with.

    The first ones are `real` pictures of that shape, at most 16, where there are any; then come
    smooth ramps, noise and the extremes, the same for every call.
    """
    rng = np.random.default_rng(20)
    noise = rng.integers(0, 256, (NOISE_EXAMPLES, *spec.shape), dtype=np.uint8)
    down = np.linspace(0, 255, spec.height)[:, np.newaxis, np.newaxis]
    across = np.linspace(255, 0, spec.width)[np.newaxis, :, np.newaxis]
    ramps = np.stack([np.broadcast_to(ramp, spec.shape) for ramp in (down, across)])
    extremes = np.stack([np.full(spec.shape, value) for value in (0, 255)])
    parts = [ramps.astype(np.uint8), noise, extremes.astype(np.uint8)]
    if real is not None:
        parts.insert(0, real[:REAL_EXAMPLES])
    return np.concatenate(parts)


def _first_sentence(text: str) -> str:
    return text.split("\n", 1)[0].split(". ", 1)[0]
