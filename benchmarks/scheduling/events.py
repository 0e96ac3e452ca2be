"""The virtual clock."""

import heapq
import itertools
from collections.abc import Callable


class Loop:
    """Runs callbacks in the order of their virtual times; equal times in order of their making."""

    def __init__(self) -> None:
        self.now = 0.0
        """Virtual seconds."""
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, callback: Callable[..., None], *args: object) -> None:
        """Call at a virtual time; one that has passed means now."""
        entry = (max(when, self.now), next(self._numbers), callback, args)
        heapq.heappush(self._heap, entry)

    def after(self, seconds: float, callback: Callable[..., None], *args: object) -> None:
        """Call so many virtual seconds from now."""
        self.at(self.now + seconds, callback, *args)

    def run(self, until: float) -> None:
        """Run everything up to a virtual time."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, callback, args = heapq.heappop(self._heap)
            callback(*args)
        self.now = max(self.now, until)
