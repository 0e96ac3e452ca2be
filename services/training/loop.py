"""The training loop: one for a lone process and for each of many workers."""

import math
import time
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.training.history import EpochRecord
from services.training.progress import StepReport
from services.training.schedule import Schedule, Share


@dataclass(frozen=True, slots=True)
class Position:
    """How far a training has come."""

    epoch: int = 1
    """The epoch under way."""
    step: int = 0
    """Steps of it that are behind."""
    loss: float = 0.0
    """Sum over the pictures that were seen in it."""
    hits: float = 0.0
    """How many of them were recognised."""
    seconds: float = 0.0
    """How long it has taken."""
    history: tuple[EpochRecord, ...] = ()
    """The epochs that are behind."""


class Learns(Protocol):
    """What learns a step; see `learner.Learner`."""

    def learn(
        self,
        images: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        scale: float,
        chance: tuple[int, int],
    ) -> tuple[float, float, float]:
        """Return the global batch's mean loss and accuracy, and the learning rate."""


class LoopListener(Protocol):
    """Hears of every step, at once; the loop waits for it."""

    def stepped(self, report: StepReport, position: Position) -> None:
        """A step within an epoch was learned."""

    def epoch_ended(self, record: EpochRecord, position: Position) -> None:
        """An epoch was learned; `position` is the begin of the next."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """What is learned."""

    images: npt.NDArray[np.uint8]
    """[n, height, width, channels]"""
    labels: npt.NDArray[np.int64]
    """[n]"""


def run_loop(
    learner: Learns,
    pictures: Pictures,
    schedule: Schedule,
    listener: LoopListener,
    *,
    start: Position,
    worker: int = 0,
    workers: int = 1,
) -> Position:
    """Learn from a position to the end as one of some workers; return the last position.

    Raises InvalidRequestError (TRAINING_DIVERGED) when the loss is no longer a number; all workers
    do so in the same step, since all know the loss of the whole batch.
    """
    position, speed = start, _Speed()
    while position.epoch <= schedule.epochs:
        for share in schedule.shares(position.epoch, position.step, worker, workers):
            began = time.monotonic()
            loss, accuracy, rate = learner.learn(
                pictures.images[share.indices],
                pictures.labels[share.indices],
                share.scale,
                schedule.chance(position.epoch, share.step, worker),
            )
            _check(loss, position.epoch, share.step, rate)
            position = _advanced(position, share, loss, accuracy, time.monotonic() - began)
            listener.stepped(
                StepReport(
                    epoch=position.epoch,
                    epochs=schedule.epochs,
                    step=share.step,
                    steps=schedule.steps,
                    loss=loss,
                    accuracy=accuracy,
                    images_per_s=speed.after(share.batch),
                    learning_rate=rate,
                ),
                position,
            )
        record = _record(position, schedule.images)
        position = Position(position.epoch + 1, history=(*position.history, record))
        listener.epoch_ended(record, position)
    return position


def _check(loss: float, epoch: int, step: int, rate: float) -> None:
    if not math.isfinite(loss):
        raise InvalidRequestError(
            f"training diverged in epoch {epoch}, step {step}: the loss is {loss}. "
            f"Try a learning rate below {rate:g}",
            reason="TRAINING_DIVERGED",
        )


def _advanced(
    position: Position, share: Share, loss: float, accuracy: float, seconds: float
) -> Position:
    return replace(
        position,
        step=share.step,
        loss=position.loss + loss * share.batch,
        hits=position.hits + accuracy * share.batch,
        seconds=position.seconds + seconds,
    )


def _record(position: Position, images: int) -> EpochRecord:
    return EpochRecord(
        epoch=position.epoch,
        loss=position.loss / images,
        accuracy=position.hits / images,
        seconds=position.seconds,
        images_per_s=images / max(position.seconds, 1e-9),
    )


class _Speed:
    """Pictures a second since the second step: the first one compiles."""

    def __init__(self) -> None:
        self._since = 0.0
        self._images = -1

    def after(self, images: int) -> float:
        """Count a step; return the speed, 0 when it is not known yet."""
        now = time.monotonic()
        if self._images < 0:
            self._since, self._images = now, 0
            return 0.0
        self._images += images
        return self._images / max(now - self._since, 1e-9)
