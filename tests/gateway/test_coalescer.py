"""What arrives while calls are in flight goes into the next one, and nothing gets mixed up."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.coalescer import Coalescer
from services.common.deadline import Deadline
from services.common.errors import InternalError
from tests.leaks import no_task_left  # noqa: F401
from tests.repeatable import repeatable
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

MAX_WEIGHT = 10


class Calls:
    """The other end of a coalescer: holds each call until it is let go."""

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.sent: list[list[int]] = []
        self.open: list[asyncio.Future[Exception | None]] = []
        self.most = 0
        self.coalescer: Coalescer[int, str] = Coalescer(
            self._send, lambda: self.slots, lambda item: abs(item) % 100, MAX_WEIGHT
        )

    def submit(self, *items: int) -> asyncio.Task[Sequence[str]]:
        """Submit items; the weight of an item is its last two digits."""
        return asyncio.create_task(self.coalescer.submit(items, Deadline.after(PATIENCE_S), "late"))

    async def let_go(self, error: Exception | None = None) -> None:
        """Answer the oldest call."""
        await until(lambda: bool(self.open))
        self.open.pop(0).set_result(error)

    async def _send(self, items: list[int]) -> Sequence[str]:
        self.sent.append(items)
        future: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.open.append(future)
        self.most = max(self.most, len(self.open))
        error = await future
        if error is not None:
            raise error
        return [str(item) for item in items if item >= 0]


def answers(*items: int) -> list[str]:
    """What the other end makes of items."""
    return [str(item) for item in items]


async def test_a_submission_leaves_at_once_when_there_is_room() -> None:
    calls = Calls(slots=2)
    first, second = calls.submit(101), calls.submit(202)
    await until(lambda: len(calls.sent) == 2)
    await calls.let_go()
    await calls.let_go()
    assert [await first, await second] == [answers(101), answers(202)]


async def test_what_arrives_meanwhile_goes_together() -> None:
    calls = Calls()
    first = calls.submit(101)
    await until(lambda: len(calls.sent) == 1)
    rest = [calls.submit(201, 301), calls.submit(401)]
    await calls.let_go()
    await calls.let_go()
    assert await first == answers(101)
    assert [await each for each in rest] == [answers(201, 301), answers(401)]
    assert calls.sent == [[101], [201, 301, 401]]


async def test_the_error_of_a_call_is_that_of_its_items_alone() -> None:
    calls = Calls()
    doomed = calls.submit(101)
    await until(lambda: len(calls.sent) == 1)
    fine = calls.submit(201)
    await calls.let_go(InternalError("broken"))
    with pytest.raises(InternalError, match="broken"):
        await doomed
    await calls.let_go()
    assert await fine == answers(201)


async def test_a_submission_over_two_calls_fails_with_the_first_of_them() -> None:
    calls = Calls()
    wide = calls.submit(106, 206, 306)
    await calls.let_go(InternalError("broken"))
    with pytest.raises(InternalError):
        await wide
    fine = calls.submit(401)
    await calls.let_go()  # the second had left already
    await calls.let_go()
    assert await fine == answers(401)
    assert calls.sent == [[106], [206], [401]]


async def test_a_caller_that_goes_while_it_waits_is_left_out() -> None:
    calls = Calls()
    first = calls.submit(101)
    await until(lambda: len(calls.sent) == 1)
    going, staying = calls.submit(201), calls.submit(301)
    await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await calls.let_go()
    await calls.let_go()
    await asyncio.gather(first, staying)
    assert calls.sent == [[101], [301]]


async def test_a_caller_that_goes_during_its_call_harms_nobody() -> None:
    calls = Calls()
    first = calls.submit(101)
    await until(lambda: len(calls.sent) == 1)
    going, staying = calls.submit(201), calls.submit(301)
    await calls.let_go()
    await until(lambda: len(calls.sent) == 2)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await calls.let_go()
    assert await first == answers(101)
    assert await staying == answers(301)
    last = calls.submit(401)
    await calls.let_go()
    assert await last == answers(401)


async def test_too_few_results_are_an_error_and_nobody_is_left_hanging() -> None:
    calls = Calls()
    odd = calls.submit(101, -1)
    await calls.let_go()
    with pytest.raises(InternalError, match="1 results for 2 items"):
        await odd
    fine = calls.submit(101)
    await calls.let_go()
    assert await fine == answers(101)


async def test_there_is_always_one_call_and_room_grows() -> None:
    calls = Calls(slots=0)
    submissions = [calls.submit(109)]
    await until(lambda: len(calls.sent) == 1)
    calls.slots = 3
    submissions += [calls.submit(209), calls.submit(309), calls.submit(409)]
    await until(lambda: len(calls.sent) == 3)
    assert calls.most == 3
    for _ in range(4):
        await calls.let_go()
    await asyncio.gather(*submissions)


async def test_nothing_waits_for_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    calls = Calls(slots=2)
    fired: list[object] = []
    call_later = loop.call_later

    def noted(delay: float, callback: Any, *args: Any) -> asyncio.TimerHandle:
        def fire() -> None:
            fired.append(callback)
            callback(*args)

        return call_later(delay, fire)

    monkeypatch.setattr(loop, "call_later", noted)
    submissions = [calls.submit(104) for _ in range(6)]
    while not all(each.done() for each in submissions):
        await asyncio.sleep(0)
        while calls.open:
            calls.open.pop().set_result(None)
    assert fired == []  # the deadline's are there, and never come up


async def test_nothing_to_submit_is_no_call() -> None:
    calls = Calls()
    assert await calls.submit() == []
    assert calls.sent == []


@repeatable
@given(
    submissions=st.lists(st.lists(st.integers(0, 15), max_size=5), max_size=12),
    turns=st.lists(st.integers(0, 3), min_size=1, max_size=20),
    slots=st.integers(1, 3),
    cancelled=st.sets(st.integers(0, 11), max_size=3),
)
def test_whatever_is_submitted_is_sent_once_in_order(
    submissions: list[list[int]], turns: list[int], slots: int, cancelled: set[int]
) -> None:
    async def run() -> None:
        calls = Calls(slots)
        numbered = iter(range(100, 100_000, 100))
        items = [[next(numbered) + weight for weight in weights] for weights in submissions]
        tasks = []
        for place, submission in enumerate(items):
            tasks.append(calls.submit(*submission))
            for _ in range(turns[place % len(turns)]):
                await asyncio.sleep(0)
            if place in cancelled:
                tasks[place].cancel()
            if calls.open and turns[place % len(turns)] == 2:
                calls.open.pop(0).set_result(None)
        while not all(task.done() for task in tasks):
            await asyncio.sleep(0)
            while calls.open:
                calls.open.pop(0).set_result(None)
        for place, task in enumerate(tasks):
            if not task.cancelled():
                assert task.result() == answers(*items[place])
            else:
                assert place in cancelled
        sent = [item for call in calls.sent for item in call]
        assert sent == sorted(sent)
        assert len(set(sent)) == len(sent)
        kept = [
            item for n, submission in enumerate(items) if n not in cancelled for item in submission
        ]
        assert set(kept) <= set(sent)
        assert calls.most <= slots
        for call in calls.sent:
            assert call
            assert len(call) == 1 or sum(item % 100 for item in call) <= MAX_WEIGHT

    asyncio.run(run())
