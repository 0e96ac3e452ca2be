"""Values on their way from a task to a consumer."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.registry.streams import Feed, Streams
from tests.waiting import PATIENCE_S


async def _rest(values: AsyncGenerator[int, None]) -> list[int]:
    return [value async for value in values]


@given(rounds=st.lists(st.lists(st.integers(0, 2)), max_size=6), depth=st.sampled_from([1, 2]))
async def test_never_stale_and_never_twice(rounds: list[list[int]], depth: int) -> None:
    feed: Feed[int] = Feed(depth)
    values = feed.values()
    delivered: list[int] = []
    newest = None
    for published in rounds:
        for value in published:
            feed.publish(value)
            newest = value
        while newest is not None and (not delivered or delivered[-1] != newest):
            delivered.append(await anext(values))
    feed.end()
    delivered += await _rest(values)
    assert delivered[-1:] == ([] if newest is None else [newest])
    assert all(one != other for one, other in pairwise(delivered))


async def test_with_depth_two_a_change_and_back_is_told() -> None:
    feed: Feed[bool] = Feed(2)
    values = feed.values()
    feed.publish(True)
    assert await anext(values) is True
    for value in (False, True, False, True):
        feed.publish(value)
    assert [await anext(values), await anext(values)] == [False, True]
    await values.aclose()


async def test_with_depth_one_a_change_and_back_is_silence() -> None:
    feed: Feed[int] = Feed(1)
    values = feed.values()
    feed.publish(1)
    assert await anext(values) == 1
    feed.publish(2)
    feed.publish(1)
    feed.end()
    assert await _rest(values) == []


async def test_closing_the_consumer_waits_for_the_producers_end() -> None:
    ended = asyncio.Event()

    async def produce(feed: Feed[int]) -> None:
        try:
            feed.publish(1)
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.set()

    streams = Streams()
    async with aclosing(streams.open(produce)) as values:
        assert await anext(values) == 1
    assert ended.is_set()


async def test_closing_the_whole_does_not_interrupt_an_end_that_has_begun() -> None:
    began, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def produce(feed: Feed[int]) -> None:
        try:
            feed.publish(1)
            await asyncio.Event().wait()
        finally:
            began.set()
            await go_on.wait()
            ended.set()

    streams = Streams()
    values = streams.open(produce)
    assert await anext(values) == 1
    one = asyncio.create_task(values.aclose())
    await began.wait()
    other = asyncio.create_task(streams.close())
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(one, other)
    assert ended.is_set()
    assert await _rest(streams.open(produce)) == []


async def test_a_producers_own_error_reaches_the_consumer() -> None:
    async def produce(feed: Feed[int]) -> None:
        feed.publish(1)
        raise ZeroDivisionError

    values = Streams().open(produce)
    assert await anext(values) == 1
    with pytest.raises(ZeroDivisionError):
        await anext(values)


async def test_a_producer_whose_time_limit_passes_just_then_is_closed_all_the_same() -> None:
    streams = Streams()
    limits: list[asyncio.Timeout] = []

    async def produce(feed: Feed[int]) -> None:
        feed.publish(0)
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as limit:
                    limits.append(limit)
                    await asyncio.Event().wait()

    stream = streams.open(produce)
    assert await anext(stream) == 0
    limits[0].reschedule(0)
    await asyncio.sleep(0)  # the limit passes, and the producer has not heard of it
    async with asyncio.timeout(PATIENCE_S):
        await stream.aclose()
    assert len(limits) == 1
