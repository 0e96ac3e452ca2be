"""Batches that have run, for whoever watches them."""

import asyncio
from collections import deque
from typing import Final

from facet.inference.v1 import inference_pb2

KEPT: Final = 4096
"""Batches that one watcher may be behind."""


class Watcher:
    """What one watcher has not seen yet."""

    def __init__(self) -> None:
        self._batches: deque[inference_pb2.Batch] = deque()
        self._left_out = 0
        self.some = asyncio.Event()
        """Set while there is something to take."""

    def put(self, batch: inference_pb2.Batch) -> None:
        """Add a batch; where too many are there, the oldest one is left out."""
        if len(self._batches) == KEPT:
            self._batches.popleft()
            self._left_out += 1
        self._batches.append(batch)
        self.some.set()

    def take(self) -> inference_pb2.WatchBatchesResponse:
        """Return all that was put since the last time."""
        taken = inference_pb2.WatchBatchesResponse(batches=self._batches, left_out=self._left_out)
        self._batches.clear()
        self._left_out = 0
        self.some.clear()
        return taken


class BatchLog:
    """Hands each batch to all who watch; costs nothing where nobody does."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def __bool__(self) -> bool:
        """Somebody watches."""
        return bool(self._watchers)

    def watch(self) -> Watcher:
        """Add a watcher; to be given to `leave` in the end."""
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """The watcher has gone."""
        self._watchers.discard(watcher)

    def ran(self, batch: inference_pb2.Batch) -> None:
        """Tell of a batch."""
        for watcher in self._watchers:
            watcher.put(batch)
