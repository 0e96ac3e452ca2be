"""When a shard asks for its next batch: just early enough that the device never waits.

A pull too late leaves the device idle; one too early binds work to this shard that another one
could have begun sooner. So the lead is measured, never fixed: 1.2 times the 95th percentile of
the time between a pull and the moment all tensors of its grant are there. What the pull waited
at the scheduler because nothing was queued (`Grant.parked_s`) is no part of it.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

WINDOW: Final = 64
MARGIN: Final = 1.2
QUANTILE: Final = 0.95


class Lead:
    """The lead of one shard, over its last grants. Not thread-safe."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def arrived(self, pull_to_arrival_s: float, parked_s: float = 0.0) -> None:
        """Note the time from a pull to the last tensor of its grant, and what of it was parked."""
        seconds = max(0.0, pull_to_arrival_s - parked_s)
        if len(self._order) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(seconds)
        insort(self._sorted, seconds)

    @property
    def seconds(self) -> float:
        """The lead; 0 as long as nothing was measured, since a wrong lead is worse than none."""
        if not self._sorted:
            return 0.0
        return MARGIN * self._sorted[math.ceil(QUANTILE * len(self._sorted)) - 1]

    def pull_in(self, remaining_s: float, *, waiting: bool, pulled: bool) -> float | None:
        """Return in how many seconds the shard is to pull; None: not before something changes.

        `remaining_s` is the predicted rest of what the device runs; `waiting` says that a batch
        lies ready behind it, `pulled` that a pull is unanswered or its grant's tensors are on
        their way.
        """
        if waiting or pulled:
            return None
        return max(0.0, remaining_s - self.seconds)
