"""Golden examples: a few inputs with the scores that every engine must give for them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.artefacts import sha256_of
from services.common.models.manifest import GoldenFile

GOLDEN_FILE: Final = "golden.npz"

RELATIVE_TOLERANCE: Final = 5e-3
"""Of the largest score, at least of 1. A wrong weight or kernel differs by far more; a GPU that
multiplies in TF32 (10 bits of mantissa) by less."""

Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


@dataclass(frozen=True, slots=True, eq=False)
class GoldenExamples:
    """Inputs and right answers."""

    images: npt.NDArray[np.uint8]
    """[examples, height, width, channels]"""
    scores: npt.NDArray[np.float32]
    """[examples, classes]"""

    def save(self, folder: Path) -> GoldenFile:
        """Write the examples into a version's folder and return the record of the file."""
        path = folder / GOLDEN_FILE
        np.savez_compressed(path, images=self.images, scores=self.scores)
        largest = float(np.abs(self.scores).max())
        return GoldenFile(
            file=path.name,
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
            examples=len(self.images),
            tolerance=RELATIVE_TOLERANCE * max(1.0, largest),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read examples; ModelRefusedError when the file does not hold any."""
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return cls(stored["images"], stored["scores"])
        except Exception as error:  # numpy and zipfile raise many kinds
            raise ModelRefusedError(f"{path} does not hold golden examples: {error}") from error

    def check(self, predict: Predict, tolerance: float) -> float:
        """Return the largest difference of a score between `predict` and the examples.

        Raises ModelRefusedError, with the difference, when it is above the tolerance.
        """
        scores = predict(self.images)
        if scores.shape != self.scores.shape:
            raise ModelRefusedError(
                f"the golden examples have scores of shape {self.scores.shape}, "
                f"and the model gives {scores.shape}"
            )
        differences = np.abs(scores - self.scores)
        worst = float(differences.max())
        if not worst <= tolerance:
            example, index = np.unravel_index(int(differences.argmax()), differences.shape)
            raise ModelRefusedError(
                f"the outputs differ from the golden examples by up to {worst:.3g} "
                f"(example {example}, output {index}); at most {tolerance:.3g} is allowed"
            )
        return worst
