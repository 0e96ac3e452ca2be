"""Trains a network in this process, and measures one on pictures that it never saw."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np

from services.common.errors import InvalidRequestError
from services.common.models.normalisation import Normalisation
from services.training.augmentation import augmented
from services.training.data.dataset import Dataset
from services.training.fusion import fuse
from services.training.history import EpochRecord
from services.training.jobs.checkpoints import Checkpoint, Checkpoints
from services.training.jobs.record import JobRecord
from services.training.learner import Learner, State
from services.training.loop import Pictures, Position, run_loop
from services.training.networks.building import build
from services.training.progress import StepReport, TrainingProgress
from services.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained network."""

    model: Any
    """keras.Model from float32 pictures, normalised, to shares [n, classes]."""
    normalisation: Normalisation
    history: tuple[EpochRecord, ...]


class Network:
    """An untrained network; its first weights follow from the seed."""

    def __init__(self, record: JobRecord) -> None:
        """Build nothing yet."""
        self.normalisation = Normalisation.custom((0.0,), 1 / 255)
        self.model: Any = None
        """Float32 pictures, normalised, to shares; None until it is built."""
        self._record = record

    def build(self) -> Any:
        """Return what is trained: uint8 pictures [n, *shape] to shares, moving them at random.

        Raises InvalidRequestError for an unknown architecture.
        """
        settings, shape = self._record.training_settings, self._record.shape
        keras.utils.set_random_seed(settings.seed)
        self.model = build(settings.architecture, shape, self._record.classes)
        return fuse(augmented(self.model, shape, settings), shape, self.normalisation)


def make_learner(record: JobRecord, network: Network, strategy: Any = None) -> Learner:
    """Return a learner of the network, one of those of `strategy` where there is one."""
    schedule = record.schedule
    rate = record.training_settings.learning_rate
    return Learner(network.build, rate, schedule.epochs * schedule.steps, strategy)


class Saver:
    """Writes checkpoints: after every epoch, and within one after some steps or seconds."""

    def __init__(
        self, checkpoints: Checkpoints, learner: Learner, *, every_steps: int, every_s: float
    ) -> None:
        """`every_steps` 0: seconds alone count."""
        self._checkpoints = checkpoints
        self._learner = learner
        self._every_steps = every_steps
        self._every_s = every_s
        self._last = time.monotonic()

    def within_epoch(self, position: Position, steps: int) -> str | None:
        """Save if it is due; return the checkpoint's name if it was."""
        if position.step == steps:
            return None  # the epoch's own comes next
        by_steps = self._every_steps > 0 and position.step % self._every_steps == 0
        if by_steps or time.monotonic() - self._last >= self._every_s:
            return self.save(position)
        return None

    def save(self, position: Position) -> str:
        """Save now; return the checkpoint's name.

        Raises InvalidRequestError (TRAINING_DIVERGED) instead when a weight is no number: the loss
        would tell in the next step, and the checkpoint would be of no use.
        """
        state = self._learner.state()
        if not all(np.isfinite(value).all() for value in state.weights):
            raise InvalidRequestError(
                f"training diverged before epoch {position.epoch}, step {position.step + 1}: "
                "there are weights that are no numbers. Try a lower learning rate",
                reason="TRAINING_DIVERGED",
            )
        name = self._checkpoints.save(Checkpoint(position, state.weights, state.optimizer))
        self._last = time.monotonic()
        return name


def restored(learner: Learner, checkpoint: Checkpoint | None) -> Position:
    """Let a learner go on from a checkpoint, if there is one; return the position."""
    if checkpoint is None:
        return Position()
    learner.restore(State(checkpoint.weights, checkpoint.optimizer))
    return checkpoint.position


class _Alone:
    """A LoopListener of a training in this process."""

    def __init__(
        self,
        learner: Learner,
        dataset: Dataset,
        progress: TrainingProgress,
        checkpoints: Checkpoints | None,
        saver: Saver | None,
        epochs: int,
    ) -> None:
        self._measure = partial(learner.evaluate, dataset.test_images, dataset.test_labels)
        self._progress = progress
        self._checkpoints = checkpoints
        self._saver = saver
        self._epochs = epochs

    def stepped(self, report: StepReport, position: Position) -> None:
        if self._saver and self._saver.within_epoch(position, report.steps):
            self._prune()
        self._progress.step(report)

    def epoch_ended(self, record: EpochRecord, position: Position) -> None:
        if self._saver:
            self._saver.save(position)
            self._prune()
        self._progress.epoch(record)
        if record.epoch < self._epochs:  # the last one is measured as the result is
            self._progress.evaluated(record.epoch, *self._measure())

    def _prune(self) -> None:
        if self._checkpoints:
            self._checkpoints.prune()


def train(
    dataset: Dataset,
    settings: TrainingSettings,
    progress: TrainingProgress,
    *,
    checkpoints: Checkpoints | None = None,
    every_steps: int = 0,
    every_s: float = 30.0,
) -> Trained:
    """Train a network with Adam on the training part of a data set, in this process.

    The learning rate falls to 0 along half a cosine. One seed on one machine gives one result, up
    to the rounding of threads that add in another order. With `checkpoints` it goes on from the
    newest, and writes more (see Saver). After each epoch but the last the network is measured on
    the held-out pictures: whoever has the result measures that. Raises InvalidRequestError for an
    unknown architecture, and with TRAINING_DIVERGED when the loss is no longer a number.
    """
    record = JobRecord.of(dataset, settings, workers=1)
    network = Network(record)
    learner = make_learner(record, network)
    start = restored(learner, checkpoints.newest() if checkpoints else None)
    saver = None
    if checkpoints is not None:
        saver = Saver(checkpoints, learner, every_steps=every_steps, every_s=every_s)
    listener = _Alone(learner, dataset, progress, checkpoints, saver, settings.epochs)
    pictures = Pictures(dataset.train_images, dataset.train_labels)
    end = run_loop(learner, pictures, record.schedule, listener, start=start)
    return Trained(network.model, network.normalisation, end.history)


class Yardstick:
    """Measures checkpoints of a job on the held-out pictures; one thread at a time."""

    def __init__(self, record: JobRecord, dataset: Dataset) -> None:
        self._network = Network(record)
        self._learner = make_learner(record, self._network)
        self._dataset = dataset

    def measure(self, checkpoint: Checkpoint) -> tuple[float, float]:
        """Return the mean loss and accuracy over the held-out pictures."""
        self._learner.restore(State(checkpoint.weights, checkpoint.optimizer))
        return self._learner.evaluate(self._dataset.test_images, self._dataset.test_labels)

    def trained(self, checkpoint: Checkpoint) -> Trained:
        """Return the network of the last checkpoint."""
        self._learner.restore(State(checkpoint.weights, checkpoint.optimizer))
        history = checkpoint.position.history
        return Trained(self._network.model, self._network.normalisation, history)
