"""Measures the checkpoint of each epoch on the held-out pictures, beside the training."""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from services.training.jobs.checkpoints import Checkpoint, Checkpoints
from services.training.progress import TrainingProgress

Measure = Callable[[Checkpoint], tuple[float, float]]
"""Takes a checkpoint's weights and returns the mean loss and accuracy over held-out pictures."""


class Evaluator:
    """Measures in a thread, for the time of the block; the workers never wait for it."""

    def __init__(
        self, measure: Measure, checkpoints: Checkpoints, progress: TrainingProgress
    ) -> None:
        self._measure = measure
        self._checkpoints = checkpoints
        self._progress = progress
        self._waiting: deque[tuple[int, str]] = deque()
        self._working: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._working is not None:
            self._working.cancel()
            await asyncio.gather(self._working, return_exceptions=True)

    @property
    def needed(self) -> frozenset[str]:
        """Checkpoints that must not be removed yet."""
        return frozenset(name for _, name in self._waiting)

    def submit(self, epoch: int, name: str) -> None:
        """Measure an epoch's checkpoint when its turn has come."""
        self._waiting.append((epoch, name))
        if self._working is None or (self._working.done() and not self._working.exception()):
            self._working = asyncio.create_task(self._work())

    async def finish(self) -> None:
        """Wait until all is measured; raises what measuring raised."""
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        while self._waiting:
            epoch, name = self._waiting[0]
            measured = await asyncio.to_thread(self._one, name)
            self._waiting.popleft()
            if measured is not None:
                self._progress.evaluated(epoch, *measured)

    def _one(self, name: str) -> tuple[float, float] | None:
        checkpoint = self._checkpoints.load(name)
        return None if checkpoint is None else self._measure(checkpoint)
