"""Deadlines that share one timer."""

import asyncio
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError
from services.common.timing_wheel import TimingWheel
from tests.waiting import PATIENCE_S


async def _until_empty(wheel: TimingWheel) -> None:
    """Return once everything that is in the wheel now has been called."""
    last = asyncio.Event()
    async with asyncio.timeout(PATIENCE_S):
        wheel.add(time.monotonic() + 0.05, last.set)
        await last.wait()


@given(
    delays=st.lists(st.floats(-0.01, 0.03), max_size=12),
    taken_back=st.sets(st.integers(0, 11)),
)
def test_each_is_called_once_and_never_early_unless_it_is_taken_back(
    delays: list[float], taken_back: set[int]
) -> None:
    called: list[int] = []
    early: list[int] = []

    def expire(number: int, at: float) -> None:
        called.append(number)
        if time.monotonic() < at:
            early.append(number)

    async def run() -> None:
        wheel, now = TimingWheel(), time.monotonic()
        slots = []
        for number, delay in enumerate(delays):
            call = partial(expire, number, now + delay)
            slots.append((wheel.add(now + delay, call), call))
        for number in taken_back & set(range(len(delays))):
            slot, call = slots[number]
            slot.discard(call)
        await _until_empty(wheel)

    asyncio.run(run())
    assert sorted(called) == sorted(set(range(len(delays))) - taken_back)
    assert not early


async def test_an_earlier_one_does_not_wait_for_the_later() -> None:
    wheel, called = TimingWheel(), asyncio.Event()
    wheel.add(time.monotonic() + 3_600, lambda: pytest.fail("it is not time"))
    wheel.add(time.monotonic() + 0.01, called.set)
    async with asyncio.timeout(PATIENCE_S):
        await called.wait()


async def test_one_that_is_called_takes_back_another() -> None:
    wheel, at = TimingWheel(), time.monotonic()
    called: list[str] = []
    calls = {name: partial(called.append, name) for name in ("one", "other")}

    def first_of(name: str, other: str) -> None:
        calls[name]()
        slot.discard(expire[other])

    expire = {"one": partial(first_of, "one", "other"), "other": partial(first_of, "other", "one")}
    slot = wheel.add(at, expire["one"])
    assert wheel.add(at, expire["other"]) is slot
    await _until_empty(wheel)
    assert len(called) == 1


async def test_one_that_fails_keeps_nobody_else_from_being_called() -> None:
    wheel, at = TimingWheel(), time.monotonic()
    called: list[int] = []

    def fail(number: int) -> None:
        called.append(number)
        raise ValueError(number)

    for number in range(3):
        wheel.add(at, partial(fail, number))
    await _until_empty(wheel)
    assert sorted(called) == [0, 1, 2]


async def test_one_that_is_called_sets_another() -> None:
    wheel, done = TimingWheel(), asyncio.Event()
    at = time.monotonic()

    def set_another() -> None:
        wheel.add(at, done.set)

    wheel.add(at, set_another)
    async with asyncio.timeout(PATIENCE_S):
        await done.wait()


async def test_a_future_is_waited_for_until_its_deadline() -> None:
    wheel, loop = TimingWheel(), asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    loop.call_soon(future.set_result, 7)
    assert await wheel.within(Deadline.after(PATIENCE_S), future, "late") == 7
    never: asyncio.Future[int] = loop.create_future()
    with pytest.raises(DeadlineExceededError, match="late"):
        await wheel.within(Deadline.after(0.01), never, "late")


async def test_a_future_that_is_done_at_its_deadline_keeps_its_result() -> None:
    wheel, future = TimingWheel(), asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert await wheel.within(Deadline.after(-1.0), future, "late") == 7


async def test_whoever_is_cancelled_does_not_hear_of_the_deadline() -> None:
    wheel, loop = TimingWheel(), asyncio.get_running_loop()
    future: asyncio.Future[int] = loop.create_future()
    waiting = asyncio.create_task(wheel.within(Deadline.after(0.01), future, "late"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await _until_empty(wheel)
    assert future.cancelled()
