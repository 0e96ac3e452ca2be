"""Without a scheduler each piece goes where it will be finished first."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost
from services.common.scheduling.placement import LoadReport, Placement

MODEL = ModelKey("cats", 1)
COST = Cost(0.004, 0.001)
FLIGHT_S = 0.002


def report(sequence: int, remaining_s: float = 0.0, cost: Cost = COST) -> LoadReport:
    return LoadReport(sequence, remaining_s, {MODEL: cost})


def place(placement: Placement, now: float = 0.0, avoid: tuple[str, ...] = ()) -> str:
    placed = placement.place(MODEL, 8, now, avoid)
    assert placed is not None
    return placed[0]


def test_own_sends_count_before_a_report_covers_them() -> None:
    placement = Placement(FLIGHT_S)
    placement.reported("a", report(1), 0.0)
    placement.reported("b", report(1), 0.0)
    assert Counter(place(placement) for _ in range(8)) == {"a": 4, "b": 4}
    placement.reported("a", report(2, 0.0), 1.0)
    assert place(placement, 1.0) == "a"


def test_a_slow_shard_gets_its_share() -> None:
    placement = Placement(FLIGHT_S)
    placement.reported("fast", report(1), 0.0)
    placement.reported("slow", report(1, cost=Cost(0.012, 0.003)), 0.0)
    sent = Counter(place(placement) for _ in range(40))
    assert 2 * sent["slow"] < sent["fast"] < 5 * sent["slow"]


def test_an_older_report_is_dropped() -> None:
    placement = Placement(FLIGHT_S)
    placement.reported("a", report(2, 0.5), 0.0)
    placement.reported("a", report(1, 0.0), 0.0)
    placement.reported("b", report(1, 0.1), 0.0)
    assert place(placement) == "b"


def test_avoided_shards_are_the_last_resort() -> None:
    placement = Placement(FLIGHT_S)
    placement.reported("a", report(1), 0.0)
    placement.reported("b", report(1, 9.0), 0.0)
    assert place(placement, avoid=("a",)) == "b"
    placement.left("b")
    assert place(placement, avoid=("a",)) == "a"
    placement.shards_are([])
    assert placement.place(MODEL, 8, 0.0) is None


def test_a_model_that_nobody_serves_is_placed_nowhere() -> None:
    placement = Placement(FLIGHT_S)
    placement.reported("a", report(1), 0.0)
    assert placement.place(ModelKey("dogs", 1), 8, 0.0) is None


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 32)), max_size=40))
def test_what_was_answered_is_forgotten(sends: list[tuple[int, int]]) -> None:
    placement = Placement(FLIGHT_S)
    for name in "abc":
        placement.reported(name, report(1), 0.0)
    open_sends = []
    for step, images in sends:
        placed = placement.place(MODEL, images, 0.0)
        assert placed is not None
        open_sends.append(placed)
        if step == 0:
            placement.answered(*open_sends.pop(0))
    for placed in open_sends:
        placement.answered(*placed)
    assert Counter(place(placement) for _ in range(3)) == {"a": 1, "b": 1, "c": 1}
