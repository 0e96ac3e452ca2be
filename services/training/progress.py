"""What long work tells about itself while it goes on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from services.training.history import EpochRecord

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StepReport:
    """A batch was learned. Epochs and steps count from 1."""

    epoch: int
    epochs: int
    step: int
    """Within the epoch."""
    steps: int
    """Of one epoch."""
    loss: float
    """Mean over the batch, nats, before the step."""
    accuracy: float
    """Share of the batch that was recognised, before the step."""
    images_per_s: float
    """Training pictures a second, lately; 0: not known yet."""
    learning_rate: float
    """Of this step."""

    @property
    def done(self) -> int:
        """Steps of the whole training that are behind."""
        return (self.epoch - 1) * self.steps + self.step

    @property
    def total(self) -> int:
        """Steps of the whole training."""
        return self.epochs * self.steps


class TrainingProgress(Protocol):
    """Hears how a training goes; the command line draws it."""

    def stage(self, text: str) -> None:
        """Something begins, such as "loading TensorFlow"."""

    def notice(self, text: str) -> None:
        """Something happened that a person should know."""

    def worker_lost(self, text: str) -> None:
        """A worker was lost, and the training goes on; `text` is for a person."""

    def step(self, report: StepReport) -> None:
        """A batch was learned. Of many workers not every step is told."""

    def epoch(self, record: EpochRecord) -> None:
        """All training pictures were seen once more."""

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        """The network after an epoch was measured on the held-out pictures: means over them."""


def silent(_: str) -> None:
    """Tell nobody."""


class SilentProgress:
    """A TrainingProgress that nobody hears."""

    def stage(self, text: str) -> None:
        """See TrainingProgress."""

    def notice(self, text: str) -> None:
        """See TrainingProgress."""

    def worker_lost(self, text: str) -> None:
        """See TrainingProgress."""
        self.notice(text)

    def step(self, report: StepReport) -> None:
        """See TrainingProgress."""

    def epoch(self, record: EpochRecord) -> None:
        """See TrainingProgress."""

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
