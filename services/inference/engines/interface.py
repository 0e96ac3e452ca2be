"""What every engine does."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Final, Self

import numpy as np
import numpy.typing as npt

from services.common.errors import InternalError, InvalidRequestError
from services.common.models.manifest import Manifest
from services.inference.engines.batch_plan import BatchPlan

MEASURE_S: Final = 0.05
"""Time spent on measuring one batch size, as far as `MEASURE_RUNS` allow."""

MEASURE_RUNS: Final = (2, 10)
"""At least and at most so many runs of a size; the quickest counts."""

DEARER: Final = 1.1
"""A size whose images cost so many times the cheapest size's is a step too far."""


class Engine(ABC):
    """One loaded model version.

    Load, warm, then run from one thread at a time, which is never the event loop's. `run` releases
    the interpreter lock of Python while the model computes.
    """

    name: ClassVar[str]
    """Such as "litert"."""
    packages: ClassVar[tuple[str, ...]]
    """What must be installed, as it is imported."""
    tried_apart: ClassVar[bool] = False
    """A process of its own can try a version first: it starts quickly, and needs no device."""
    artefact_formats: ClassVar[tuple[str, ...]]
    """The formats of the artefacts that it runs, the best first."""

    def __init__(
        self,
        manifest: Manifest,
        *,
        exact: bool,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """`exact`: a size that was never warmed runs as quickly as one that was.

        `clock` tells what runs cost, in seconds; an engine that computes on the calling thread
        alone gives that thread's own time, which other load on the machine does not distort.
        """
        self._shape = manifest.input.shape
        self._classes = manifest.outputs.classes
        self._exact = exact
        self._clock = clock
        self._plan = BatchPlan({1: 0.0}, exact=exact)

    @classmethod
    def format_of(cls, manifest: Manifest) -> str:
        """Return the format in which it runs a version; the best when the version has none."""
        formats = (name for name in cls.artefact_formats if manifest.artefact(name) is not None)
        return next(formats, cls.artefact_formats[0])

    @classmethod
    @abstractmethod
    def prepare(cls) -> None:
        """Import what the engine needs, so that `load` takes the model's own time and memory.

        Raises ModelRefusedError when this process cannot run it.
        """

    @classmethod
    @abstractmethod
    def load(cls, path: Path, manifest: Manifest, *, threads: int) -> Self:
        """Load the artefact in that format to run on that many threads of the CPU.

        Raises ModelRefusedError when the engine cannot run it.
        """

    @abstractmethod
    def close(self) -> None:
        """Free the model's memory. Idempotent; nothing may be run afterwards."""

    @abstractmethod
    def _predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the scores [n, classes] of n >= 1 images, in one run."""

    def warm(self, batch_sizes: Sequence[int]) -> BatchPlan:
        """Run each size until its first-time costs are paid, and measure it.

        Returns the plan by which batches are run from now on. Sizes are tried upwards until two
        in a row are clearly dearer an image than a smaller one: none beyond would ever be run,
        and its memory is spared.
        """
        noise = np.random.default_rng(0)
        seconds: dict[int, float] = {}
        dearer = 0
        for size in sorted(set(batch_sizes)):
            images = noise.integers(0, 256, (size, *self._shape), dtype=np.uint8)
            self._checked(images)
            seconds[size] = self._measure(images)
            best = min(cost / measured for measured, cost in seconds.items())
            dearer = dearer + 1 if seconds[size] / size > DEARER * best else 0
            if dearer == 2:
                break
        self._plan = BatchPlan(seconds, exact=self._exact)
        return self._plan

    def adopt(self, seconds: Mapping[int, float]) -> BatchPlan:
        """Run batches by what each size took in another process of this machine.

        Pays the first-time costs of the sizes that are going to be run, and of no others.
        """
        self._plan = plan = BatchPlan(seconds, exact=self._exact)
        largest = plan.largest_run(max(seconds))
        self._checked(np.zeros((largest, *self._shape), np.uint8))
        return plan

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return the scores, float32 [n, classes], of uint8 images [n, height, width, channels].

        Any n, 0 included. Raises InvalidRequestError (WRONG_DTYPE, WRONG_SHAPE) for other arrays
        and InternalError (MODEL_FAILED) when the model fails.
        """
        if images.dtype != np.uint8:
            raise InvalidRequestError(
                f"images must be uint8, not {images.dtype}", reason="WRONG_DTYPE"
            )
        if images.shape[1:] != self._shape:
            raise InvalidRequestError(
                f"images must be n x {' x '.join(map(str, self._shape))}, not {images.shape}",
                reason="WRONG_SHAPE",
            )
        scores = np.empty((len(images), self._classes), np.float32)
        start = 0
        for size in self._plan.split(len(images)):
            part = images[start : start + size]
            scores[start : start + size] = self._checked(_padded(part, size))[: len(part)]
            start += size
        return scores

    def _measure(self, images: npt.NDArray[np.uint8]) -> float:
        quickest, spent, runs = float("inf"), 0.0, 0
        at_least, at_most = MEASURE_RUNS
        while runs < at_least or (runs < at_most and spent < MEASURE_S):
            started = self._clock()
            self._predict(images)
            took = self._clock() - started
            quickest, spent, runs = min(quickest, took), spent + took, runs + 1
        return quickest

    def _checked(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        try:
            scores = self._predict(images)
        except Exception as error:  # engines raise what they like
            raise InternalError(
                f"{self.name} failed on a batch of {len(images)}: {error}", reason="MODEL_FAILED"
            ) from error
        if scores.shape != (len(images), self._classes):
            raise InternalError(
                f"{self.name} gave scores of shape {scores.shape} for a batch of {len(images)}, "
                f"not {(len(images), self._classes)}",
                reason="MODEL_FAILED",
            )
        return scores


def _padded(images: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    if len(images) == size:
        return images
    padded = np.zeros((size, *images.shape[1:]), np.uint8)
    padded[: len(images)] = images
    return padded
