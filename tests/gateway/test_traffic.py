"""Which version answers to a name while versions come and go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facet.inference.v1 import inference_pb2
from gateway.traffic import Name, Traffic, merged

CATS = Name("cats")


def releases(
    current: int, versions: list[int], *, previous: list[int] | None = None, sequence: int = 0
) -> inference_pb2.ModelReleases:
    """What was decided, with a label that leads to version 1."""
    return inference_pb2.ModelReleases(
        name="cats",
        sequence=sequence,
        current=current,
        previous=previous,
        versions=versions,
        labels={"first": 1},
    )


@pytest.mark.parametrize(
    ("old", "new", "moves"), [(1, 0, False), (1, 1, True), (4, 2, False), (4, 3, True)]
)
def test_traffic_moves_when_enough_shards_have_the_new_version(
    old: int, new: int, moves: bool
) -> None:
    traffic = Traffic()
    assert traffic.version(CATS, releases(1, [1]), {1: old}) == 1
    now = traffic.version(CATS, releases(2, [1, 2]), {1: old, 2: new})
    assert now == (2 if moves else 1)


def test_it_does_not_move_back_while_shards_restart() -> None:
    traffic = Traffic()
    traffic.version(CATS, releases(1, [1]), {1: 2})
    assert traffic.version(CATS, releases(2, [1, 2]), {1: 2, 2: 2}) == 2
    assert traffic.version(CATS, releases(2, [1, 2]), {1: 2, 2: 1}) == 2


def test_it_goes_back_when_the_former_version_is_promoted_again() -> None:
    traffic = Traffic()
    traffic.version(CATS, releases(1, [1]), {1: 2})
    traffic.version(CATS, releases(2, [1, 2]), {1: 2, 2: 2})
    assert traffic.version(CATS, releases(1, [1, 2]), {1: 2, 2: 2}) == 1


def test_a_gateway_that_just_started_takes_what_is_there() -> None:
    late = releases(3, [1, 2, 3], previous=[1])
    assert Traffic().version(CATS, late, {1: 1, 2: 1}) == 1  # promoted before
    assert Traffic().version(CATS, late, {2: 1}) == 2
    assert Traffic().version(CATS, late, {2: 1, 3: 1}) == 3
    assert Traffic().version(CATS, late, {}) == 3  # to be loaded


def test_a_label_leads_to_its_version_alone() -> None:
    first = Name("cats", "first")
    assert Traffic().version(first, releases(2, [1, 2]), {2: 4}) == 1
    assert Traffic().version(Name("cats", "last"), releases(2, [1, 2]), {2: 4}) is None


def test_a_retired_version_answers_no_more() -> None:
    traffic = Traffic()
    traffic.version(CATS, releases(1, [1]), {1: 2})
    retired = releases(2, [2])
    retired.retired.append(1)
    assert traffic.version(CATS, retired, {1: 2}) == 2


def test_the_newest_decision_counts_and_what_any_shard_knows_exists() -> None:
    older, newer = releases(1, [1], sequence=3), releases(2, [2, 3], sequence=4)
    newer.retired.append(3)
    both = merged([newer, older])
    assert both.current == 2
    assert list(both.versions) == [1, 2]


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4), st.dictionaries(st.integers(1, 4), st.integers(0, 4), max_size=4)
        ),
        max_size=20,
    )
)
def test_what_answers_is_there_whenever_anything_is(
    moments: list[tuple[int, dict[int, int]]],
) -> None:
    traffic = Traffic()
    for goal, shards in moments:
        now = traffic.version(CATS, releases(goal, [1, 2, 3, 4]), shards)
        assert now is not None
        if any(shards.values()):
            assert shards.get(now)
