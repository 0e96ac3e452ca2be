"""Rates from counters, under a clock of the test's own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.scheduling.rates import LEAST_S, STEP_S, WINDOW_S, Rates


def test_a_steady_counter_has_its_rate() -> None:
    rates: Rates[str] = Rates()
    for step in range(300):
        rates.told({"images": 1000 + 7 * step}, step / 10)
    assert rates.per_s(29.9)["images"] == pytest.approx(70, rel=STEP_S / WINDOW_S)


def test_a_counter_that_stands_still_has_none() -> None:
    rates: Rates[str] = Rates()
    assert rates.per_s(0.0) == {}
    rates.told({"images": 0}, 0.0)
    rates.told({"images": 100}, 5.0)
    assert rates.per_s(5.0)["images"] == 20
    assert rates.per_s(9.0)["images"] == pytest.approx(100 / 9)
    assert rates.per_s(14.0)["images"] == 10
    assert rates.per_s(15.0 + STEP_S)["images"] == 0
    rates.told({"images": 101}, 3600.0)
    assert rates.per_s(3600.0)["images"] == pytest.approx(0.1)


def test_what_was_counted_before_is_nobody_s_rate() -> None:
    rates: Rates[str] = Rates()
    rates.told({"images": 1_000_000}, 0.0)
    assert rates.per_s(0.0) == {"images": 0}
    rates.told({"images": 1_000_010}, 0.1)
    assert rates.per_s(0.1)["images"] == 10 / LEAST_S
    rates.told({"images": 1_000_010, "batches": 500}, 3.0)
    assert rates.per_s(3.0)["batches"] == 0
    rates.told({"images": 1_000_020}, 5.0)
    rates.told({"images": 1_000_020, "batches": 510}, 8.0)
    assert rates.per_s(8.0)["batches"] == 10 / 8


@given(st.lists(st.tuples(st.floats(0, 4), st.integers(0, 100)), min_size=1, max_size=60))
def test_a_rate_is_the_growth_of_the_last_window(steps: list[tuple[float, int]]) -> None:
    rates: Rates[str] = Rates()
    now, count, told = 0.0, 0, [(0.0, 0)]
    rates.told({"n": 0}, 0.0)
    for pause, images in steps:
        now, count = now + pause, count + images
        rates.told({"n": count}, now)
        told.append((now, count))

    def value(at: float) -> int:
        return max((n for when, n in told if when <= at), default=0)

    grown = rates.per_s(now)["n"] * max(min(now, WINDOW_S), LEAST_S)
    assert count - value(now - WINDOW_S) <= grown + 1e-6
    assert grown <= count - value(now - WINDOW_S - STEP_S) + 1e-6 or now < WINDOW_S


def test_few_samples_are_kept() -> None:
    rates: Rates[str] = Rates()
    for step in range(100_000):
        rates.told({"n": step}, step / 1000)
    assert len(rates._samples) <= 2 * WINDOW_S / STEP_S + 3
