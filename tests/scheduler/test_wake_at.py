"""To look at `wake_at` alone is as good as to look all the time."""

import copy

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Piece, PieceKey, Serving
from services.scheduler.lane import LOOK_SHARE

MODEL = ModelKey("cats", 1)
STEP_S = 0.001
DELAY_S = 0.003
"""How much later a grant may come: two ages of a lane's columns, and the least time to a look."""
HORIZON_S = 0.5
MOST_LOOKS = 50


def serving(slowness: float) -> Serving:
    return Serving(32, (Ran(1, 0.005 * slowness), Ran(32, 0.036 * slowness)))


def pieces(first: int, images: list[int], deadline: float) -> list[Piece]:
    return [
        Piece(PieceKey("d", first + number), MODEL, size, deadline)
        for number, size in enumerate(images)
    ]


Situation = tuple[list[tuple[float, bool, float]], list[int], list[int], float, float]

situations = st.tuples(
    st.lists(  # shards: how slow, whether at work, the rest at which it pulls again
        st.tuples(
            st.sampled_from([1.0, 1.5, 3.0, 10.0]),
            st.booleans(),
            st.sampled_from([-1.0, 0.0, 0.004]),
        ),
        min_size=1,
        max_size=4,
    ),
    st.lists(st.integers(1, 12), max_size=10),  # images at work
    st.lists(st.integers(1, 12), max_size=6),  # images that come later
    st.sampled_from([0.0, 0.01, 0.03]),  # how much later
    st.sampled_from([0.6, 10.0]),  # and their deadline
)


def in_situation(situation: Situation) -> Scheduler:
    shards, running, coming, now, deadline = situation
    core = Scheduler("epoch", hedge_share=1.0)
    for number, (slowness, at_work, _) in enumerate(shards):
        core.shard_joined(f"s{number}", 0.0)
        core.shard_serves(f"s{number}", {MODEL: serving(slowness)})
        if at_work:
            core.shard_pulled(f"s{number}", 0.0)
    core.enqueue(pieces(0, running, 10.0))
    core.assign(0.0)
    for number, (_, at_work, remaining) in enumerate(shards):
        if not at_work or remaining >= 0:
            core.shard_pulled(f"s{number}", now, max(remaining, 0.0), 0.002)
    core.enqueue(pieces(100, coming, now + deadline))
    return core


# A share that is the least one but for rounding.
@example(([(1.5, True, -1.0), *[(3.0, False, -1.0)] * 3], [6], [1, 6], 0.01, 0.6))
@settings(max_examples=200, deadline=None)
@given(situations)
def test_whatever_time_brings_is_looked_at_soon(situation: Situation) -> None:
    """What a call would grant between two looks, it would grant just before the second one."""
    core = in_situation(situation)
    moment = start = situation[3]
    end = start + HORIZON_S
    looks = 0
    while moment < end:
        core.assign(moment)
        looks += 1
        following = core.wake_at
        assert following is None or following > moment
        following = end if following is None else min(following, end)
        restless = copy.deepcopy(core)
        while (moment := moment + STEP_S) + DELAY_S + LOOK_SHARE * (moment - start) < following:
            assert restless.assign(moment) == []
        moment = following
    assert looks <= MOST_LOOKS


@pytest.mark.parametrize("queued", [0, 3])
def test_without_a_credit_there_is_nothing_to_wait_for(queued: int) -> None:
    core = in_situation(([(1.0, True, -1.0)], [8], [8] * queued, 0.0, 10.0))
    core.assign(0.0)
    assert core.wake_at is None


def test_with_nothing_to_run_there_is_nothing_to_wait_for() -> None:
    core = in_situation(([(1.0, False, 0.0), (3.0, False, 0.0)], [], [], 0.0, 10.0))
    core.assign(0.0)
    assert core.wake_at is None


def test_without_a_budget_an_overdue_lease_wakes_nobody() -> None:
    core = Scheduler("epoch", hedge_share=0.0)
    for name in "ab":
        core.shard_joined(name, 0.0)
        core.shard_serves(name, {MODEL: serving(1.0)})
        core.shard_pulled(name, 0.0)
    core.enqueue(pieces(0, [8], 10.0))
    (grant,) = core.assign(0.0)
    assert core.wake_at is None
    assert core.assign(grant.finish + 1.0) == []
    assert core.wake_at is None


def test_an_overdue_lease_that_nobody_may_take_is_looked_at_once() -> None:
    core = Scheduler("epoch", hedge_share=1.0)
    core.shard_joined("a", 0.0)
    core.shard_serves("a", {MODEL: serving(1.0)})
    core.shard_pulled("a", 0.0)
    core.enqueue(pieces(0, [8], 10.0))
    core.assign(0.0)
    core.shard_pulled("a", 0.001, 0.01)
    core.assign(0.001)
    overdue = core.wake_at
    assert overdue is not None
    assert core.assign(overdue) == []
    assert core.wake_at is None
