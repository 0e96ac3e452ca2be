"""Logs for TensorBoard: `tensorboard --logdir FOLDER`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from services.training.history import EpochRecord
from services.training.progress import StepReport, TrainingProgress


@contextmanager
def writing(folder: Path | None, progress: TrainingProgress) -> Iterator[TrainingProgress]:
    """Yield a progress that also writes what it hears under a folder; `progress` itself for None.

    `train` gets loss, accuracy, images a second and learning rate by step, `epochs` loss and
    accuracy by epoch, and `held_out` loss and accuracy by epoch.
    """
    if folder is None:
        yield progress
        return
    board = _Board(folder, progress)
    try:
        yield board
    finally:
        board.close()


class _Board:
    def __init__(self, folder: Path, progress: TrainingProgress) -> None:
        self._progress = progress
        self._steps, self._epochs, self._held_out = (
            tf.summary.create_file_writer(str(folder / name))
            for name in ("train", "epochs", "held_out")
        )

    def close(self) -> None:
        """Write what is not written yet."""
        for writer in (self._steps, self._epochs, self._held_out):
            writer.close()

    def stage(self, text: str) -> None:
        self._progress.stage(text)

    def notice(self, text: str) -> None:
        self._progress.notice(text)

    def worker_lost(self, text: str) -> None:
        self._progress.worker_lost(text)

    def step(self, report: StepReport) -> None:
        with self._steps.as_default(step=report.done):
            tf.summary.scalar("loss", report.loss)
            tf.summary.scalar("accuracy", report.accuracy)
            tf.summary.scalar("images_per_s", report.images_per_s)
            tf.summary.scalar("learning_rate", report.learning_rate)
        self._progress.step(report)

    def epoch(self, record: EpochRecord) -> None:
        with self._epochs.as_default(step=record.epoch):
            tf.summary.scalar("loss", record.loss)
            tf.summary.scalar("accuracy", record.accuracy)
            tf.summary.scalar("images_per_s", record.images_per_s)
        self._progress.epoch(record)

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        with self._held_out.as_default(step=epoch):
            tf.summary.scalar("loss", loss)
            tf.summary.scalar("accuracy", accuracy)
        self._progress.evaluated(epoch, loss, accuracy)
