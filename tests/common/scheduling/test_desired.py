"""How many shards are asked for: more at once, fewer late."""

import math

from hypothesis import given
from hypothesis import strategies as st

from services.common.scheduling.desired import (
    MOST,
    STABLE_S,
    TARGET,
    TOLERANCE,
    Desired,
    needed_shards,
)

demands = st.floats(0, 100)
counts = st.integers(0, 64)


def test_the_demand_decides() -> None:
    assert needed_shards(2.8, 4) == 4  # exactly at the target
    assert needed_shards(3.0, 4) == 4  # within the tolerance
    assert needed_shards(3.5, 4) == 5
    assert needed_shards(0.5, 4) == 1
    assert needed_shards(0.0, 4) == 1
    assert needed_shards(50.0, 4) == 8  # no more than twice as many
    assert needed_shards(0.0, 0) == 1


@given(demands, st.integers(1, 64))
def test_what_is_needed_has_the_load_that_it_should_have(demand: float, present: int) -> None:
    needed = needed_shards(demand, present)
    assert 1 <= needed <= max(MOST * present, 1)
    if needed not in (present, MOST * present):
        assert demand / needed <= TARGET * 1.000001
        assert needed == 1 or demand / (needed - 1) > TARGET * 0.999999
    if needed == present and needed not in (1, MOST * present):
        assert demand <= TARGET * present * (1 + TOLERANCE) * 1.000001


@given(demands, st.integers(1, 64))
def test_a_recommendation_that_is_followed_stays(demand: float, present: int) -> None:
    needed = needed_shards(demand, present)
    if needed < MOST * present:
        assert needed_shards(demand, needed) == needed


@given(st.lists(st.tuples(st.floats(0, 200), st.integers(1, 20)), min_size=1, max_size=40))
def test_the_most_of_five_minutes_is_asked_for(steps: list[tuple[float, int]]) -> None:
    desired, now, told = Desired(), 0.0, []
    for pause, needed in steps:
        now += pause
        told.append((now, needed))
        desired.note(needed, now)
        lately = [count for at, count in told if at > now - STABLE_S]
        assert desired.shards(now) == max(lately)


def test_more_are_asked_for_at_once_and_fewer_after_five_minutes() -> None:
    desired = Desired()
    assert desired.shards(0.0) == 1
    desired.note(2, 0.0)
    desired.note(6, 1.0)
    assert desired.shards(1.0) == 6
    desired.note(2, 2.0)
    assert desired.shards(math.nextafter(1.0 + STABLE_S, 0)) == 6
    assert desired.shards(1.0 + STABLE_S) == 2
    assert desired.shards(1e6) == 2
