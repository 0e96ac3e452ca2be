"""When a shard asks for its next batch: just early enough that the device never waits.

A pull too late leaves the device idle; one too early binds work to this shard that another one
could have begun sooner. So the lead is measured, never fixed: 1.2 times the 95th percentile of
the time between a pull and the moment all tensors of its grant are there, and the 90th
percentile of how much earlier batches end than was predicted. What the pull waited at the
scheduler because nothing was queued (`Grant.parked_s`) is no part of it.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from typing import Final

WINDOW: Final = 64
MARGIN: Final = 1.2
FLIGHT_QUANTILE: Final = 0.95
EARLY_QUANTILE: Final = 0.9


class Window:
    """Quantiles of the last WINDOW values."""

    def __init__(self) -> None:
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        """Take in a value; the oldest one leaves."""
        if len(self._order) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(value)
        insort(self._sorted, value)

    def quantile(self, share: float) -> float:
        """The least value that is no less than `share` of all; 0 where there is none."""
        if not self._sorted:
            return 0.0
        return self._sorted[max(0, math.ceil(share * len(self._sorted)) - 1)]


class Lead:
    """The lead of one shard. Not thread-safe."""

    def __init__(self) -> None:
        self._flight = Window()
        self._early = Window()

    def arrived(self, pull_to_arrival_s: float, parked_s: float = 0.0) -> float:
        """Note the time from a pull to the last tensor of its grant; return its flight.

        `parked_s` comes with the grant. The flight goes to the scheduler with the next pull.
        """
        flight = max(0.0, pull_to_arrival_s - parked_s)
        self._flight.add(flight)
        return flight

    def ended(self, early_s: float) -> None:
        """Note how much earlier than predicted a batch ended; negative when it was late."""
        self._early.add(max(0.0, early_s))

    @property
    def seconds(self) -> float:
        """The lead; 0 as long as nothing was measured, since a wrong lead is worse than none."""
        flight = self._flight.quantile(FLIGHT_QUANTILE)
        return MARGIN * flight + self._early.quantile(EARLY_QUANTILE) if flight else 0.0

    def pull_in(self, remaining_s: float, *, waiting: bool, pulled: bool) -> float | None:
        """Return in how many seconds the shard is to pull; None: not before something changes.

        `remaining_s` is the predicted rest of what the device runs; `waiting` says that a batch
        lies ready behind it, `pulled` that a pull is unanswered or its grant's tensors are on
        their way.
        """
        if waiting or pulled:
            return None
        return max(0.0, remaining_s - self.seconds)
