"""A request that is refused, or given up, while its pictures are prepared."""

import asyncio

import pytest

from facet.scheduler.v1 import scheduler_pb2
from gateway.expectation import Expectation
from gateway.pieces import News
from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError, OverloadedError
from services.common.timing_wheel import TimingWheel
from tests.waiting import PATIENCE_S

BUSY = OverloadedError("busy", retry_after_s=0.5)


class Told:
    """What the scheduler hears."""

    def __init__(self) -> None:
        self.messages: list[scheduler_pb2.DispatchRequest] = []
        self.news = News(self.messages.append, "d")

    async def abandoned(self) -> list[int]:
        """The requests that were given up, once all is said."""
        await asyncio.sleep(0)
        return [number for message in self.messages for number in message.abandoned]


async def test_a_refusal_is_raised_where_the_pictures_are_waited_for() -> None:
    told = Told()
    expected = Expectation(7, told.news, TimingWheel())
    asyncio.get_running_loop().call_soon(expected.refuse, BUSY)
    with pytest.raises(OverloadedError), expected:
        await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    assert await told.abandoned() == []  # who refused it does not expect it


async def test_a_refusal_that_comes_later_is_for_whoever_has_the_pieces() -> None:
    told = Told()
    expected = Expectation(7, told.news, TimingWheel())
    with expected:
        await asyncio.sleep(0)
    expected.refuse(BUSY)
    await asyncio.sleep(0)
    assert expected.come(told.news)
    assert not expected.come(told.news)


async def test_pieces_are_admitted_by_the_scheduler_that_was_told() -> None:
    old, new = Told(), Told()
    assert not Expectation(1, None, TimingWheel()).come(new.news)
    assert not Expectation(1, old.news, TimingWheel()).come(new.news)
    assert not Expectation(1, old.news, TimingWheel()).come(None)
    assert Expectation(1, new.news, TimingWheel()).come(new.news)


async def test_what_fails_or_is_cancelled_is_expected_no_more() -> None:
    told = Told()
    with pytest.raises(KeyError), Expectation(1, told.news, TimingWheel()):
        raise KeyError("a fault")

    async def wait() -> None:
        with Expectation(2, told.news, TimingWheel()):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    assert await told.abandoned() == [1, 2]


async def test_a_cancellation_beats_a_refusal() -> None:
    told = Told()
    expected = Expectation(1, told.news, TimingWheel())

    async def wait() -> None:
        with expected:
            await asyncio.Event().wait()

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    waiting.cancel()
    expected.refuse(BUSY)
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()


async def test_a_request_without_pieces_is_given_up_once() -> None:
    told = Told()
    expected = Expectation(3, told.news, TimingWheel())
    with expected:
        await asyncio.sleep(0)
    expected.abandon()
    expected.abandon()
    assert await told.abandoned() == [3]


async def test_under_pressure_it_waits_to_be_admitted() -> None:
    told = Told()
    admitted = asyncio.get_running_loop().create_future()
    expected = Expectation(1, told.news, TimingWheel(), admitted)
    asyncio.get_running_loop().call_soon(expected.admit)
    with expected:
        await expected.admission(Deadline.after(PATIENCE_S))
    expected.admit()
    await Expectation(2, told.news, TimingWheel()).admission(Deadline.after(PATIENCE_S))


async def test_it_does_not_wait_beyond_its_deadline() -> None:
    told = Told()
    admitted = asyncio.get_running_loop().create_future()
    with (
        pytest.raises(DeadlineExceededError),
        Expectation(1, told.news, TimingWheel(), admitted) as expected,
    ):
        await expected.admission(Deadline.after(0.01))
    assert await told.abandoned() == [1]
