"""The connection of a channel: made once, made anew, given up."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from services.common.http2.channel import Channel
from services.common.http2.frames import (
    MAX_WINDOW,
    PREFACE,
    ErrorCode,
    Flag,
    Kind,
    Setting,
    frame,
    goaway_frame,
    settings_frame,
    word_frame,
)
from services.common.http2.headers import Header, header_block
from tests.common.http2.ends import Echo, Methods, our_server, their_channel
from tests.common.http2.test_calls import each, failure
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


async def finished(call: Any) -> Any:
    """The response of a call that has begun."""
    return await call


@asynccontextmanager
async def scripted(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[tuple[str, list[int]]]:
    """A server that does what it is told with each connection, and how many there were."""
    accepted: list[int] = []
    tasks: set[asyncio.Task[Any]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(len(accepted))
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await reader.readexactly(len(PREFACE))
            await serve(reader, writer)
            while await reader.read(1 << 16):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", accepted
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answer(stream_id: int, *headers: Header, end: bool = True) -> bytes:
    """A frame of headers."""
    flags = Flag.END_HEADERS | (Flag.END_STREAM if end else 0)
    return frame(Kind.HEADERS, flags, stream_id, header_block(headers))


SETTINGS = settings_frame({})
STATUS_OK: Header = (b":status", b"200")


async def test_calls_at_once_share_one_connection() -> None:
    async with our_server(Echo()) as (server, address), Channel(address) as channel:
        call = Methods(channel)
        answers = await asyncio.gather(*(finished(call.say(b"%d" % n)) for n in range(20)))
        assert answers == [b"%d" % n for n in range(20)]
        assert len(server._connections) == 1


async def test_calls_at_once_share_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.http2.channel.CONNECT_WITHIN_S", 0.1)

    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        pass

    async with scripted(say_nothing) as (address, accepted), Channel(address) as channel:
        call = Methods(channel)
        errors = await asyncio.gather(*(failure(call.say(b"")) for _ in range(20)))
        assert {error.code() for error in errors} == {UNAVAILABLE}
        assert len(accepted) == 1


async def test_nobody_may_listen() -> None:
    async with Channel(f"127.0.0.1:{unused_port()}") as channel:
        call = Methods(channel)
        assert (await failure(call.say(b""))).code() is UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError):
            await call.talk(each()).wait_for_connection()


async def test_a_name_may_be_none() -> None:
    async with Channel(f"{'a' * 70}.invalid:1") as channel:
        assert (await failure(Methods(channel).say(b""))).code() is UNAVAILABLE


@pytest.mark.parametrize("turns", range(6))
async def test_a_call_may_be_cancelled_while_it_connects(turns: int) -> None:
    async with our_server(Echo()) as (_, address), Channel(address) as channel:
        call = Methods(channel)
        first, second = call.say(b"first"), call.say(b"second")
        waiting = asyncio.create_task(finished(second))
        for _ in range(turns):
            await asyncio.sleep(0)
        first.cancel()
        assert (await failure(first)).code() is grpc.StatusCode.CANCELLED
        assert await waiting == b"second"


@pytest.mark.parametrize("turns", range(6))
async def test_a_channel_may_be_closed_while_it_connects(turns: int) -> None:
    async with our_server(Echo()) as (server, address):
        channel = Channel(address)
        call = Methods(channel).wait(b"")
        for _ in range(turns):
            await asyncio.sleep(0)
        await channel.close()
        assert (await failure(call)).code() in (grpc.StatusCode.CANCELLED, UNAVAILABLE)
        error = await failure(Methods(channel).say(b""))
        assert error.code() is grpc.StatusCode.CANCELLED
        await until(lambda: not server._connections)


async def test_a_deadline_counts_while_it_connects() -> None:
    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        pass

    async with scripted(say_nothing) as (address, _), Channel(address) as channel:
        error = await failure(Methods(channel).say(b"", timeout=0.05))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_server_that_comes_again_is_found_again() -> None:
    port = unused_port()
    async with Channel(f"127.0.0.1:{port}") as channel:
        call = Methods(channel)
        for _ in range(2):
            async with our_server(Echo(), port=port):
                assert await call.say(b"here") == b"here"
            assert (await failure(call.say(b"gone"))).code() is UNAVAILABLE


async def test_a_channel_of_grpcio_waits_until_the_server_is_there() -> None:
    port = unused_port()
    options = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50))
    async with their_channel(f"127.0.0.1:{port}", *options) as channel:
        waiting = asyncio.create_task(finished(Methods(channel).say(b"m", wait_for_ready=True)))
        await asyncio.sleep(0)
        async with our_server(Echo(), port=port):
            assert await asyncio.wait_for(waiting, PATIENCE_S) == b"m"


async def test_what_a_goaway_leaves_out_fails_and_the_rest_goes_on() -> None:
    expected = [2, 1]

    async def go_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls, received = expected.pop(0), b""
        writer.write(SETTINGS)
        while received.count(b"/facet.test.Echo") < calls:
            received += await reader.read(1 << 16)
        writer.write(goaway_frame(1, ErrorCode.NO_ERROR))
        writer.write(answer(1, STATUS_OK, (b"grpc-status", b"5")))

    async with scripted(go_away) as (address, accepted), Channel(address) as channel:
        call = Methods(channel)
        first, second = call.say(b"1"), call.say(b"2")
        assert (await failure(first)).code() is grpc.StatusCode.NOT_FOUND
        assert (await failure(second)).code() is UNAVAILABLE
        assert (await failure(call.say(b"3"))).code() is grpc.StatusCode.NOT_FOUND
        assert len(accepted) == 2


async def test_no_more_calls_are_made_than_the_server_takes() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), Channel(address) as channel:
        call = Methods(channel)
        await call.say(b"")
        (connection,) = server._connections
        connection.write(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 3}))
        assert channel._connection is not None
        await until(lambda: channel._connection.peer_max_streams == 3)  # type: ignore[union-attr]
        calls = [asyncio.create_task(finished(call.wait(b"%d" % n))) for n in range(10)]
        await until(lambda: echo.running == 3)
        assert len(channel._connection._room) == 7
        calls[4].cancel()
        calls[0].cancel()
        await until(lambda: echo.cancelled == 1 and echo.running == 3)
        echo.gate.set()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [each for each in answers if isinstance(each, bytes)] == [
            b"%d" % n for n in range(10) if n not in (0, 4)
        ]
        assert not channel._connection._room


async def test_calls_that_wait_for_room_fail_with_the_connection() -> None:
    async def full(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings_frame({Setting.MAX_CONCURRENT_STREAMS: 0}))

    async with scripted(full) as (address, _):
        channel = Channel(address)
        calls = [Methods(channel).say(b"") for _ in range(3)]
        await until(lambda: channel._connection is not None and len(channel._connection._room) == 3)
        await channel.close()
        for call in calls:
            assert (await failure(call)).code() is grpc.StatusCode.CANCELLED


async def test_numbers_of_streams_run_out_and_a_new_connection_is_made() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), Channel(address) as channel:
        call = Methods(channel)
        await call.say(b"")
        first = channel._connection
        assert first is not None
        first._next_stream = MAX_WINDOW
        last = asyncio.create_task(finished(call.wait(b"last")))
        await until(lambda: echo.running == 1)
        assert await call.say(b"new") == b"new"
        assert channel._connection is not first
        assert len(server._connections) == 2
        echo.gate.set()
        assert await last == b"last"
        await until(lambda: len(server._connections) == 1)


ANSWERS: dict[str, tuple[bytes, grpc.StatusCode]] = {
    "no status": (answer(1, STATUS_OK), grpc.StatusCode.UNKNOWN),
    "an odd status": (
        answer(1, STATUS_OK, (b"grpc-status", b"9" * 5_000)),
        grpc.StatusCode.UNKNOWN,
    ),
    "http": (answer(1, (b":status", b"503")), UNAVAILABLE),
    "not found": (answer(1, (b":status", b"404"), end=False), grpc.StatusCode.UNIMPLEMENTED),
    "early hints": (
        answer(1, (b":status", b"103"), end=False) + answer(1, STATUS_OK, (b"grpc-status", b"9")),
        grpc.StatusCode.FAILED_PRECONDITION,
    ),
    "no response": (
        answer(1, STATUS_OK, end=False) + answer(1, (b"grpc-status", b"0")),
        grpc.StatusCode.INTERNAL,
    ),
    "two responses": (
        answer(1, STATUS_OK, end=False)
        + frame(Kind.DATA, 0, 1, b"\0\0\0\0\0" * 2)
        + answer(1, (b"grpc-status", b"0")),
        grpc.StatusCode.INTERNAL,
    ),
    "a torn response": (
        answer(1, STATUS_OK, end=False)
        + frame(Kind.DATA, 0, 1, b"\0\0\0\0\0\0\0")
        + answer(1, (b"grpc-status", b"0")),
        grpc.StatusCode.INTERNAL,
    ),
    "refused": (word_frame(Kind.RST_STREAM, 1, ErrorCode.REFUSED_STREAM), UNAVAILABLE),
    "calm": (
        word_frame(Kind.RST_STREAM, 1, ErrorCode.ENHANCE_YOUR_CALM),
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ),
    "a push": (frame(Kind.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), UNAVAILABLE),
    "not http2": (b"HTTP/1.1 400 Bad Request\r\n\r\n", UNAVAILABLE),
}


@pytest.mark.parametrize("what", ANSWERS)
async def test_odd_answers_have_their_status(what: str) -> None:
    sent, code = ANSWERS[what]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SETTINGS)
        received = b""
        while b"/facet.test.Echo" not in received:
            received += await reader.read(1 << 16)
        writer.write(sent)

    async with scripted(serve) as (address, _), Channel(address) as channel:
        assert (await failure(Methods(channel).say(b"m"))).code() is code
        await until(lambda: not (channel._connection and channel._connection.streams))
