"""Which pictures which worker learns in which step: the same everywhere, from the seed alone."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Share:
    """One worker's part of one global batch."""

    step: int
    """From 1, within the epoch."""
    indices: npt.NDArray[np.int64]
    """Pictures to learn, at least one [n]."""
    batch: int
    """Pictures of the global batch."""
    counts: bool
    """False: the batch is smaller than the number of workers, and this one's picture is another's
    too; it is computed, since all must take part, and has no weight."""

    @property
    def scale(self) -> float:
        """What the sum of the losses is multiplied by, so that the sum over workers is a mean."""
        return 1 / self.batch if self.counts else 0.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The steps of a training on `images` pictures with `batch` of them a step.

    `batch` is that of all workers together and is the same for the whole training, however many
    workers are left: what is learned does not depend on who learns it.
    """

    images: int
    batch: int
    epochs: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps of one epoch; the last may have a smaller batch."""
        return math.ceil(self.images / self.batch)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order of all pictures in an epoch: int64 [images]."""
        return np.random.default_rng((self.seed, epoch)).permutation(self.images)

    def shares(self, epoch: int, after: int, worker: int, workers: int) -> Iterator[Share]:
        """Yield a worker's part of each step of an epoch that comes after step `after`."""
        order = self.order(epoch)
        for step in range(after + 1, self.steps + 1):
            whole = order[(step - 1) * self.batch : step * self.batch]
            part = np.array_split(whole, workers)[worker]
            counts = len(part) > 0
            yield Share(step, part if counts else whole[:1], len(whole), counts)

    def chance(self, epoch: int, step: int, worker: int) -> tuple[int, int]:
        """Return the seed of what is random in a step, such as how pictures are moved.

        Two uint32. Nothing is carried from step to step, so a training that goes on after a stop
        draws what it would have drawn.
        """
        state = np.random.SeedSequence((self.seed, epoch, step, worker)).generate_state(2)
        return int(state[0]), int(state[1])
