"""What was asked for and refused since the scheduler started, and what waits now."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from services.common.models.key import ModelKey


class ModelQueue(NamedTuple):
    """One version's queue at one moment."""

    model: ModelKey
    waiting: int
    """Images that wait for a lease or are to come."""
    wait_s: float
    """Predicted seconds until one more image would have been run; 0: not known."""
    asked: int
    """Images asked for, refused ones included."""
    refused: int


class Asked:
    """Images by model. Not thread-safe."""

    def __init__(self) -> None:
        self._asked: Counter[ModelKey] = Counter()
        self._refused: Counter[ModelKey] = Counter()

    def asked(self, model: ModelKey, images: int) -> None:
        """Count a request."""
        self._asked[model] += images

    def refused(self, model: ModelKey, images: int) -> None:
        """Count a request that was asked before."""
        self._refused[model] += images

    @property
    def models(self) -> Iterable[ModelKey]:
        """All that was ever asked for."""
        return self._asked.keys()

    def queue(self, model: ModelKey, waiting: int, wait_s: float) -> ModelQueue:
        """Return the queue of a version, with what is counted here."""
        return ModelQueue(model, waiting, wait_s, self._asked[model], self._refused[model])
