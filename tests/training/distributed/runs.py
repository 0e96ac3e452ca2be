"""Real trainings for tests, and a program that runs one to be killed.

python -m tests.training.distributed.runs REPOSITORY
"""

import dataclasses
import os
import sys
from collections.abc import Callable
from pathlib import Path

from facet.launcher.training_workers import LocalWorkers
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from services.training.data.digits import load_digits_dataset
from services.training.distributed.coordinator import Cadence
from services.training.history import EpochRecord
from services.training.progress import SilentProgress, StepReport
from services.training.running import RunOptions
from services.training.settings import TrainingSettings
from services.training.training import train_and_publish

PICTURES = 213
"""Of which every last batch is smaller than the others."""
BATCH = 10
"""Pictures a step of each of two workers."""
LONG = TrainingSettings(epochs=24, batch_size=BATCH, learning_rate=1e-3, shift=0.0)
"""Some seconds long."""
CADENCE = Cadence(checkpoint_steps=4, report_s=0.0, silence_s=3.0)


def some_digits() -> Dataset:
    """Some digits to train on, and all that are held out."""
    whole = load_digits_dataset()
    return dataclasses.replace(
        whole,
        train_images=whole.train_images[:PICTURES],
        train_labels=whole.train_labels[:PICTURES],
    )


class Listener(SilentProgress):
    """Remembers what it was told, and does something when a step was learned."""

    def __init__(self, on_step: Callable[[StepReport], None] = lambda _: None) -> None:
        self.notices: list[str] = []
        self.records: list[EpochRecord] = []
        self.measured: list[int] = []
        self._on_step = on_step

    def notice(self, text: str) -> None:
        self.notices.append(text)

    def step(self, report: StepReport) -> None:
        self._on_step(report)

    def epoch(self, record: EpochRecord) -> None:
        self.records.append(record)

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        assert 0 <= accuracy <= 1
        self.measured.append(epoch)


def _tell(report: StepReport) -> None:
    if report.epoch == 3:
        sys.stdout.write("learning\n")
        sys.stdout.flush()


if __name__ == "__main__":
    os.environ.update(QUIET_ENVIRONMENT)
    train_and_publish(
        ModelRepository(Path(sys.argv[1])),
        "digits",
        some_digits(),
        LONG,
        Listener(_tell),
        RunOptions(
            workers=LocalWorkers(2),
            cadence=CADENCE,
            logs=lambda job: Path(sys.argv[1], "logs", job),
        ),
    )
