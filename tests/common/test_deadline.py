"""Deadlines count down on the monotonic clock and never below zero."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError
from tests.repeatable import repeatable


@repeatable
@given(st.floats(min_value=0.5, max_value=1e6))
def test_what_is_left_is_at_most_what_was_given(seconds: float) -> None:
    deadline = Deadline.after(seconds)
    assert 0 < deadline.remaining_s <= seconds
    assert deadline.remaining_ms <= seconds * 1000
    assert not deadline.expired
    deadline.check("anything")


@pytest.mark.parametrize("seconds", [0.0, -1.0, -1e9])
def test_a_past_deadline_has_nothing_left(seconds: float) -> None:
    deadline = Deadline.after(seconds)
    assert deadline.expired
    assert deadline.remaining_s == 0
    assert deadline.remaining_ms == 0
    with pytest.raises(DeadlineExceededError, match="before the picture was decoded"):
        deadline.check("the picture was decoded")


def test_milliseconds_are_thousandths_of_a_second() -> None:
    before = time.monotonic()
    deadline = Deadline.after_ms(1500)
    assert before + 1.5 <= deadline.at <= time.monotonic() + 1.5


def test_the_later_deadline_is_the_larger() -> None:
    assert max(Deadline(1.0), Deadline(3.0), Deadline(2.0)) == Deadline(3.0)
