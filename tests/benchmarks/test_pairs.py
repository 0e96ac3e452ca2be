"""Interleaving, medians and spreads."""

from collections.abc import Callable

import pytest

from benchmarks.measurement import Measurement
from benchmarks.pairs import Spread, measure_pairs, measure_rounds


def rate(measurement: Measurement) -> float:
    """The value that these tests compare."""
    return measurement.images_per_s


def side(name: str, log: list[str], *images: int) -> Callable[[float], Measurement]:
    """A side that gives so many images in its runs, and notes each run."""
    given = iter(images)

    def run(seconds: float) -> Measurement:
        log.append(name)
        return Measurement(seconds=seconds, requests=1, images=next(given))

    return run


def test_every_other_pair_is_turned_round() -> None:
    log: list[str] = []
    measure_pairs(side("a", log, *range(4)), side("b", log, *range(4)), 1.0, pairs=3)
    assert log[2:] == ["a", "b", "b", "a", "a", "b"]


def test_the_first_round_does_not_count() -> None:
    (measured,) = measure_rounds([side("a", [], 1000, 1, 2, 3)], 1.0, rounds=3)
    assert [each.images for each in measured] == [1, 2, 3]


def test_ratios_are_those_of_pairs() -> None:
    log: list[str] = []
    ours, reference = side("a", log, 0, 9, 20, 8), side("b", log, 0, 10, 40, 8)
    pairs = measure_pairs(ours, reference, 2.0, pairs=3)
    assert pairs.ratio(rate) == Spread(median=0.9, low=0.5, high=1.0)
    assert pairs.difference(rate) == Spread(median=-0.5, low=-10.0, high=0.0)


def test_text() -> None:
    assert Spread(1234.5, 1000, 2000).text(1, "img/s") == "1,234.5 img/s (1,000.0 to 2,000.0)"


def test_cost_an_image() -> None:
    measured = Measurement(seconds=2.0, requests=4, images=8, cpu_s={"gateway-1": 0.004})
    assert measured.cpu_us_per_image() == {"gateway-1": pytest.approx(500.0)}
    assert (measured.images_per_s, measured.requests_per_s) == (4.0, 2.0)
