"""What long work tells about itself while it goes on."""

from collections.abc import Callable
from typing import Protocol

Tell = Callable[[str], None]


class TrainingProgress(Protocol):
    """Hears how a training goes; the command line draws it."""

    def stage(self, text: str) -> None:
        """Something begins, such as "loading TensorFlow"."""

    def step(self, *, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """A batch was learned: epoch and step count from 1; loss is the batch's mean."""

    def epoch(self, *, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """All pictures were seen once more: means over the epoch's training pictures."""


def silent(_: str) -> None:
    """Tell nobody."""


class SilentProgress:
    """A TrainingProgress that nobody hears."""

    def stage(self, text: str) -> None:
        """See TrainingProgress."""

    def step(self, *, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """See TrainingProgress."""

    def epoch(self, *, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
