"""Which instances are shown after an outage."""

from hypothesis import given
from hypothesis import strategies as st

from services.common.registry import Instance
from services.common.registry.consul_watch import Grace

INSTANCES = st.lists(st.sampled_from("abcdef"), unique=True).map(
    lambda names: tuple(Instance("gateway", name, "host", 1) for name in names)
)


def _ids(instances: tuple[Instance, ...]) -> set[str]:
    return {instance.id for instance in instances}


def test_what_was_there_stays_until_the_time_is_over() -> None:
    a, b = Instance("gateway", "a", "host", 1), Instance("gateway", "b", "host", 1)
    grace = Grace(5)
    grace.begin(100, [a, b])
    assert grace.apply(100, []) == (a, b)
    assert grace.remaining_s(101) == 4
    assert grace.apply(102, [b]) == (a, b)
    assert grace.apply(103, []) == (a,)  # b was back and left again: that is news
    assert grace.apply(105, []) == ()
    assert grace.remaining_s(105) is None


def test_what_comes_back_elsewhere_is_shown_there() -> None:
    old, new = Instance("gateway", "a", "host", 1), Instance("gateway", "a", "host", 2)
    grace = Grace(5)
    grace.begin(0, [old])
    assert grace.apply(1, [new]) == (new,)
    assert grace.remaining_s(1) is None


@given(held=INSTANCES, answers=st.lists(st.tuples(st.floats(0, 10), INSTANCES), max_size=8))
def test_shown_is_what_is_there_and_what_has_not_come_back_yet(
    held: tuple[Instance, ...], answers: list[tuple[float, tuple[Instance, ...]]]
) -> None:
    grace = Grace(5)
    grace.begin(0, held)
    missing = _ids(held)
    for now, seen in sorted(answers, key=lambda answer: answer[0]):
        missing = missing - _ids(seen) if now < 5 else set()
        shown = grace.apply(now, seen)
        assert _ids(shown) == _ids(seen) | missing
        assert list(shown) == sorted(shown, key=lambda instance: instance.id)
        assert (grace.remaining_s(now) is None) == (not missing)
