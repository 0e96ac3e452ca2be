"""Interleaved pairs: ours and its reference in turn, so that the machine's moods hit both."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.measurement import Measurement

PAIRS: Final = 5


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and largest of several values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 0, unit: str = "") -> str:
        """Such as "100 img/s (98 to 103)"."""
        unit = f" {unit}" if unit else ""
        return (
            f"{self.median:,.{digits}f}{unit} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"
        )


@dataclass(frozen=True, slots=True)
class Pairs:
    """Measurements of the two sides, pair by pair."""

    ours: Sequence[Measurement]
    reference: Sequence[Measurement]

    def ratio(self, value: Callable[[Measurement], float]) -> Spread:
        """Spread of ours / reference over the pairs."""
        return Spread.of(
            [value(o) / value(r) for o, r in zip(self.ours, self.reference, strict=True)]
        )

    def difference(self, value: Callable[[Measurement], float]) -> Spread:
        """Spread of ours - reference over the pairs."""
        return Spread.of(
            [value(o) - value(r) for o, r in zip(self.ours, self.reference, strict=True)]
        )


def spread(measurements: Sequence[Measurement], value: Callable[[Measurement], float]) -> Spread:
    """Spread of a value over measurements of one side."""
    return Spread.of([value(measurement) for measurement in measurements])


def measure_rounds(
    sides: Sequence[Callable[[float], Measurement]], seconds: float, rounds: int = PAIRS
) -> list[list[Measurement]]:
    """Run every side for so many seconds in each round, every other round in reverse order.

    Returns the measurements of each side. One short round before them is not counted.
    """
    for side in sides:
        side(min(1.0, seconds))
    measured: list[list[Measurement]] = [[] for _ in sides]
    for number in range(rounds):
        order = range(len(sides)) if number % 2 == 0 else reversed(range(len(sides)))
        for index in order:
            measured[index].append(sides[index](seconds))
    return measured


def measure_pairs(
    ours: Callable[[float], Measurement],
    reference: Callable[[float], Measurement],
    seconds: float,
    pairs: int = PAIRS,
) -> Pairs:
    """Measure two sides in interleaved pairs."""
    return Pairs(*measure_rounds((ours, reference), seconds, pairs))
