from itertools import combinations_with_replacement
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.inference.engines.batch_plan import CROWDING, SURCHARGE, BatchPlan

POWERS = (1, 2, 4, 8, 16, 32)

measured = st.dictionaries(st.sampled_from(POWERS), st.floats(1e-5, 1), min_size=1)


@given(seconds=measured, images=st.integers(1, 100))
def test_exact_runs_add_up(seconds: dict[int, float], images: int) -> None:
    plan = BatchPlan(seconds, exact=True)
    sizes = plan.split(images)
    assert sum(sizes) == images
    assert all(1 <= size <= plan.largest == max(seconds) for size in sizes)


@given(seconds=measured, images=st.integers(1, 100))
def test_padded_runs_have_measured_sizes_and_none_is_idle(
    seconds: dict[int, float], images: int
) -> None:
    sizes = BatchPlan(seconds, exact=False).split(images)
    assert set(sizes) <= set(seconds)
    assert sum(sizes) - min(sizes) < images <= sum(sizes)


@given(
    seconds=st.dictionaries(st.sampled_from((1, 2, 4, 8)), st.floats(1e-3, 1), min_size=1),
    images=st.integers(1, 8),
)
def test_no_other_cut_is_cheaper(seconds: dict[int, float], images: int) -> None:
    surcharge = SURCHARGE * min(cost / size for size, cost in seconds.items())

    def price(sizes: tuple[int, ...]) -> float:
        return sum(seconds[size] * (1 + CROWDING * log2(size)) + surcharge for size in sizes)

    cheapest = min(
        price(sizes)
        for runs in range(1, images + 1)
        for sizes in combinations_with_replacement(seconds, runs)
        if sum(sizes) >= images
    )
    assert price(BatchPlan(seconds, exact=False).split(images)) == pytest.approx(cheapest)


def test_a_device_with_a_fixed_cost_runs_one_large_batch() -> None:
    plan = BatchPlan({size: 0.004 + 0.001 * size for size in POWERS}, exact=False)
    assert plan.split(32) == (32,)
    assert plan.split(20) == (16, 4)
    assert plan.split(31) == (32,)
    assert plan.split(70) == (32, 32, 8)


def test_a_cache_that_overflows_cuts_the_batch() -> None:
    seconds = {1: 6.6, 2: 12.6, 4: 23.0, 8: 50.0, 16: 110.0, 32: 240.0}
    plan = BatchPlan(seconds, exact=True)
    assert plan.split(32) == (4,) * 8
    assert plan.split(3) == (3,)


def test_larger_runs_must_be_worth_it() -> None:
    equal = BatchPlan({size: float(size) for size in POWERS}, exact=True)
    assert equal.split(4) == (1, 1, 1, 1)
    worth_it = BatchPlan({size: 8.0 + 13.0 * size for size in POWERS}, exact=True)
    assert min(worth_it.split(32)) >= 8


def test_a_plan_needs_a_measure() -> None:
    for seconds in ({}, {0: 1.0}):
        with pytest.raises(ValueError, match="at least one size"):
            BatchPlan(seconds, exact=True)
