"""How calls end early: deadlines, cancellation, readers that are slow."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from services.common.http2.stream import WINDOW
from tests.common.http2.ends import Ends, connections_of
from tests.common.http2.test_calls import drain, each, failure
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

SOON_S = 0.1


async def endless() -> AsyncIterator[bytes]:
    """Requests without end, and without a pause of their own."""
    while True:
        yield b"q" * 1_000


class Silent:
    """Requests that do not come, until the block ends; grpcio leaves them alone otherwise."""

    def __init__(self) -> None:
        self._over = asyncio.Event()

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await self._over.wait()
        never: list[bytes] = []
        for request in never:
            yield request


async def handler_ended(ends: Ends) -> None:
    """Wait until the handler has been cancelled."""
    await until(lambda: ends.echo.running == 0)
    if ends.server is not None:  # for grpcio's, the stream of requests just ends
        assert ends.echo.cancelled == 1


async def test_a_deadline_ends_both_sides(ends: Ends) -> None:
    error = await failure(ends.call.wait(b"", timeout=SOON_S))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: ends.echo.cancelled == 1)


async def test_a_deadline_ends_a_stream(ends: Ends) -> None:
    with Silent() as silent:
        error = await failure(drain(ends.call.talk(silent, timeout=SOON_S)))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await handler_ended(ends)


async def test_a_deadline_that_has_passed_is_one(ends: Ends) -> None:
    # grpcio rounds up to what may be enough for an answer; its server may begin what has ended.
    method = ends.call.wait if ends.server is not None else ends.call.say
    error = await failure(method(b"", timeout=0))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_handler_knows_its_deadline(ends: Ends) -> None:
    left = float(await ends.call.left(b"", timeout=1_000))
    assert 0 < left <= 1_100  # grpcio rounds up generously
    assert await ends.call.left(b"") == b"None"


async def test_a_caller_may_stop_waiting(ends: Ends) -> None:
    async def wait() -> bytes:
        response: bytes = await ends.call.wait(b"")
        return response

    waiting = asyncio.create_task(wait())
    await until(lambda: ends.echo.running == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert waiting.cancelled()
    await until(lambda: ends.echo.cancelled == 1)


async def test_a_caller_may_cancel(ends: Ends) -> None:
    with Silent() as silent:
        call = ends.call.talk(silent)
        reading = asyncio.create_task(drain(call))
        await until(lambda: ends.echo.running == 1)
        call.cancel()
        if ends.channel is not None:
            assert (await failure(reading)).code() is grpc.StatusCode.CANCELLED
        else:
            await asyncio.gather(reading, return_exceptions=True)
        await handler_ended(ends)


async def test_a_caller_may_leave_in_the_middle(ends: Ends) -> None:
    call = ends.call.flood(b"m" * 1_000)
    async for response in call:
        assert response == b"m" * 1_000
        break
    call.cancel()
    await until(lambda: ends.echo.cancelled == 1)


async def test_requests_without_end_stop_with_the_call(ends: Ends) -> None:
    if ends.channel is None:
        return  # grpcio reports an error of its own for a request that came too late
    assert await drain(ends.call.first(endless())) == [b"q" * 1_000]
    error = await failure(drain(ends.call.talk(endless(), timeout=SOON_S)))
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_requests_may_fail(ends: Ends) -> None:
    async def requests() -> AsyncIterator[bytes]:
        yield b"first"
        raise KeyError("no more")

    if ends.channel is None:
        return  # grpcio raises what it likes there
    error = await failure(drain(ends.call.talk(requests())))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "no more" in (error.details() or "")


async def test_a_reader_that_is_slow_holds_up_the_server(ends: Ends) -> None:
    if ends.server is None:
        return
    call = ends.call.flood(b"m" * 10_000)
    iterator = aiter(call)
    assert await anext(iterator) == b"m" * 10_000
    (connection,) = connections_of(ends.server)
    (stream,) = connection.streams.values()
    await until(lambda: bool(stream._pending) or connection.write_paused)
    held = ends.echo.sent * 10_000
    assert held < 20 * WINDOW
    for _ in range(2 * held // 10_000):
        assert await anext(iterator) == b"m" * 10_000
    assert ends.echo.sent * 10_000 > held
    call.cancel()


async def test_a_server_that_does_not_read_holds_up_the_caller(ends: Ends) -> None:
    taken = 0

    async def requests() -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(2_000):
            taken += 1
            yield b"q" * 10_000

    call = ends.call.gated(requests())
    reading = asyncio.create_task(drain(call))
    if ends.channel is not None:
        (await_stream,) = await streams_of(ends)
        await until(lambda: bool(await_stream._pending))
    else:
        assert ends.server is not None
        (await_stream,) = await streams_of(ends)
        await until(lambda: await_stream._unread >= WINDOW)
    if ends.server is not None:
        assert max(each._unread for each in await streams_of(ends)) < 2 * WINDOW
    ends.echo.gate.set()
    async with asyncio.timeout(PATIENCE_S):
        assert len(await reading) == 2_000
    assert taken == 2_000


async def streams_of(ends: Ends) -> list[Any]:
    """The streams of one end of ours, once there are any."""
    end = ends.channel or ends.server
    await until(lambda: any(each.streams for each in connections_of(end)))
    return [stream for each in connections_of(end) for stream in each.streams.values()]


async def test_both_may_be_slow_at_once(ends: Ends) -> None:
    """Each side writes before it reads; the windows alone must not lock them up."""
    calls = [ends.call.talk(each(*[b"m" * 400_000] * 6)) for _ in range(6)]
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(drain(call) for call in calls))
    assert answers == [[b"m" * 400_000] * 6] * 6


async def test_calls_that_nobody_awaits_end_all_the_same(ends: Ends) -> None:
    if ends.channel is None:
        return
    for _ in range(50):
        ends.call.say(b"unheard", timeout=1_000)
    channel = ends.channel
    await until(lambda: any(not each.streams for each in connections_of(channel)))
