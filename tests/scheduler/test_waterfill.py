"""The level against a search that only knows the definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.waterfill import Floats, level

shards = st.lists(
    st.tuples(
        st.floats(-10, 10),  # start
        st.floats(1e-4, 1.0),  # c
        st.integers(1, 64),  # limit
        st.floats(1.0, 5.0),  # full / c
    ),
    min_size=1,
    max_size=12,
)
Shards = list[tuple[float, float, int, float]]


def absorbed(at: float, cluster: Shards) -> float:
    """Images that all shards have run up to a moment, batch by batch."""
    total = 0.0
    for start, c, limit, factor in cluster:
        end_of_first = start + c * limit
        if at > end_of_first:
            total += limit + (at - end_of_first) / (c * factor)
        elif at > start:
            total += (at - start) / c
    return total


def columns(cluster: Shards) -> tuple[Floats, Floats, Floats, Floats]:
    start, c, limit, factor = (
        np.array(column, dtype=float) for column in zip(*cluster, strict=True)
    )
    return start, c, limit, c * factor


@given(shards, st.integers(1, 5000))
def test_the_level_absorbs_exactly_the_queue(cluster: Shards, queued: int) -> None:
    found = level(*columns(cluster), queued)
    assert absorbed(found.at, cluster) == pytest.approx(queued, rel=1e-6)


@given(shards, st.integers(1, 5000))
def test_no_lower_level_does(cluster: Shards, queued: int) -> None:
    low, high = min(start for start, *_ in cluster), 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if absorbed(middle, cluster) >= queued else (middle, high)
    assert level(*columns(cluster), queued).at == pytest.approx(high, rel=1e-6, abs=1e-6)


@given(shards, st.integers(1, 5000), st.floats(0.0, 0.5))
def test_the_slope_tells_how_the_level_reacts(cluster: Shards, queued: int, more: float) -> None:
    """More images raise the level by at most images / slope where that is the steepest way."""
    found = level(*columns(cluster), queued)
    nearby = level(*columns(cluster), queued + 1e-6)
    moved = nearby.at - found.at
    assert moved >= 0
    assert moved == pytest.approx(1e-6 / found.slope, rel=0.05, abs=1e-7) or moved * found.slope > 0


def test_a_shard_that_would_begin_too_late_gets_nothing() -> None:
    start = np.array([0.004, 0.500])
    c = np.array([0.001, 0.001])
    limit = np.array([32.0, 32.0])
    found = level(start, c, limit, c + 0.004 / 32, 16)
    assert found.at == pytest.approx(0.020)
    assert found.at < start[1]
