"""Rates from counters that come now and then: growth over the last WINDOW_S."""

from collections import deque
from collections.abc import Mapping
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

WINDOW_S: Final = 10.0
STEP_S: Final = 0.5
"""Growth is dated later by so much at most: a rate is right to a twentieth."""
LEAST_S: Final = 1.0
"""What was known for less than a second is taken to have grown for one."""


class Rates(Generic[Key]):
    """Counters of one source. Times are seconds on the caller's clock, and never go back.

    A counter stands still while nothing is told of it. The first value that is told of one is
    where it starts: what it counted before is nobody's rate.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[Key, float]]] = deque()

    def told(self, counters: Mapping[Key, float], now: float) -> None:
        """Take in the counters; one that is missing stands still."""
        last = self._samples[-1][1] if self._samples else {}
        for key in counters.keys() - last.keys():
            for _, sample in self._samples:
                sample[key] = counters[key]
        merged = {**last, **counters}
        if len(self._samples) > 1 and now - self._samples[-2][0] < STEP_S:
            self._samples.pop()
        self._samples.append((now, merged))
        while len(self._samples) > 2 and self._samples[1][0] <= now - WINDOW_S:
            self._samples.popleft()

    def per_s(self, now: float) -> dict[Key, float]:
        """Return how much each counter grew a second."""
        if not self._samples:
            return {}
        start, before = self._samples[0]
        for at, sample in self._samples:
            if at > now - WINDOW_S:
                break
            start, before = at, sample
        seconds = max(min(now - start, WINDOW_S), LEAST_S)
        return {key: (value - before[key]) / seconds for key, value in self._samples[-1][1].items()}
