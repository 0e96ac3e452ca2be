"""Numbers that the way of a request bumps: plain ones, since each is paid for by every request.

prometheus_client's own take a lock and find their child by labels, some microseconds a bump. These
are changed by one thread, the event loop's.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

Key = tuple[str | int, ...]
"""The values of a family's labels, in their order."""

MOST: Final = 256
"""Values that the labels of a family may take; whatever comes after them is counted as OTHER."""
OTHER: Final = "other"

SECONDS: Final = (
    *(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0),
)
"""Bounds for how long something takes, from a small network alone to a deadline."""
IMAGES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Bounds for how many images something has."""
RATIOS: Final = (0.25, 0.5, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Bounds for took / predicted."""


class Histogram:
    """How many values lie between the bounds, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """Values up to each bound and above the one before; the last: above all."""
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Histograms:
    """A histogram for each value of some labels."""

    __slots__ = ("_bounds", "_known")

    def __init__(self, bounds: Sequence[float] = SECONDS) -> None:
        self._bounds = bounds
        self._known: dict[Key, Histogram] = {}

    def of(self, key: Key) -> Histogram:
        """Return the histogram of a key, a new one for one that is new."""
        if (found := self._known.get(key)) is None:
            if len(self._known) >= MOST:
                key = (OTHER,) * len(key)
            found = self._known.setdefault(key, Histogram(self._bounds))
        return found

    def items(self) -> Iterator[tuple[Key, Histogram]]:
        """Iterate over the keys and their histograms."""
        return iter(self._known.items())


class Tally:
    """How often each of some words came; of their number, too, there is a most."""

    __slots__ = ("_counts",)

    def __init__(self, *words: str) -> None:
        """`words` are told from the start, as 0: an increase from nothing is none."""
        self._counts: dict[Key, int] = {(word,): 0 for word in words}

    def add(self, *key: str | int, amount: int = 1) -> None:
        """Count one word, or the words for several labels."""
        if key not in self._counts:
            if len(self._counts) >= MOST:
                key = (OTHER,) * len(key)
            self._counts.setdefault(key, 0)
        self._counts[key] += amount

    def items(self) -> Iterator[tuple[Key, int]]:
        """Iterate over the words and how often each came."""
        return iter(self._counts.items())
