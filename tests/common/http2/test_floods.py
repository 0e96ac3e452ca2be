"""Clients that ask and ask and never read: what is kept for them is bounded."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from services.common.http2.connection import Connection
from services.common.http2.frames import Kind, Setting, frame, settings_frame, word_frame
from services.common.http2.limits import Limits
from services.common.http2.server import Server
from services.common.http2.server_connection import ServerConnection
from services.common.http2.stream import Stream
from tests.common.http2.ends import NO_LIMITS, Echo, Methods, our_server, their_channel
from tests.common.http2.raw import (
    GREETING,
    PING,
    Raw,
    data,
    opening,
    raw_client,
    request,
    whole_call,
)
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

SOCKET_BYTES = 8_192
WIDE = (
    GREETING
    + settings_frame({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1})
    + word_frame(Kind.WINDOW_UPDATE, 0, 2**30)
)


@asynccontextmanager
async def deaf_client(
    monkeypatch: pytest.MonkeyPatch, limits: Limits = NO_LIMITS
) -> AsyncIterator[tuple[Server, Echo, Raw]]:
    """A client that does not read, of a server whose queues are short."""
    monkeypatch.setattr("services.common.http2.wire.WRITE_HIGH", 10_000)
    monkeypatch.setattr("services.common.http2.wire.WRITE_AT_ONCE", 1_000)
    echo = Echo()
    async with our_server(echo, limits=limits) as (server, address):
        for listening in server._sockets:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        async with raw_client(address, receive_bytes=SOCKET_BYTES) as raw:
            yield server, echo, raw
            async with their_channel(address) as channel:
                assert await Methods(channel).say(b"healthy") == b"healthy"
        await until(lambda: not server._connections and not server._calls)
        assert echo.running == 0


def only(server: Server) -> Connection:
    """The connection of the only client."""
    (connection,) = server._connections
    return connection


@pytest.mark.parametrize(
    "question",
    [
        lambda _: PING,
        lambda stream_id: opening(stream_id, request("Missing")),
        lambda stream_id: opening(stream_id, [(b"x", b"y")]),
    ],
    ids=["pings", "calls of nothing", "malformed calls"],
)
async def test_answers_that_nobody_reads_have_a_limit(
    monkeypatch: pytest.MonkeyPatch, question: Callable[[int], bytes]
) -> None:
    async with deaf_client(monkeypatch) as (server, _, raw):
        raw.send(GREETING)
        await until(lambda: len(server._connections) == 1)
        stream_id = 1
        for _ in range(200):
            if not server._connections:
                break
            for _ in range(100):
                raw.send(question(stream_id))
                stream_id += 2
            await asyncio.sleep(0)
            if server._connections and (transport := only(server)._transport) is not None:
                assert transport.get_write_buffer_size() < 300_000
        await until(lambda: not server._connections)


async def test_responses_that_nobody_reads_hold_up_their_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with deaf_client(monkeypatch, Limits(max_streams=20)) as (server, _, raw):
        raw.send(WIDE)
        await until(lambda: len(server._connections) == 1)
        for stream_id in range(1, 401, 2):
            raw.send(whole_call(stream_id, "Say", bytes(10_000)))
        await until(lambda: only(server).idle(401) and not only(server).idle(399))
        # All others were refused; these are not over as long as their responses lie here.
        assert 0 < len(server._calls) <= 20
        transport = only(server)._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 500_000


async def test_a_stream_that_nobody_reads_is_held_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async with deaf_client(monkeypatch) as (server, echo, raw):
        raw.send(WIDE, whole_call(1, "Flood", bytes(1_000)))
        await until(lambda: bool(server._connections) and only(server).write_paused)
        assert echo.running == 1
        transport = only(server)._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < 20_000


def _all_wait(connection: Connection, last: int) -> bool:
    """All calls up to that one have come, and whatever is left waits for the window."""
    assert isinstance(connection, ServerConnection)
    return connection._last_seen == last and len(connection._blocked) == len(connection.streams)


async def test_a_tiny_window_for_many_streams_is_little_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    echo = Echo()
    flush = Stream.flush
    flushed = 0

    def counted(stream: Stream) -> None:
        nonlocal flushed
        flushed += 1
        flush(stream)

    async with our_server(echo) as (server, address), raw_client(address) as raw:
        raw.send(GREETING)
        for stream_id in range(1, 401, 2):
            raw.send(whole_call(stream_id, "Say", bytes(1_000)))
        await until(lambda: bool(server._connections) and _all_wait(only(server), 399))
        monkeypatch.setattr(Stream, "flush", counted)
        raw.send(word_frame(Kind.WINDOW_UPDATE, 0, 1) * 50)
        await raw.alive()
        assert 50 <= flushed <= 100


async def test_empty_messages_count() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), raw_client(address) as raw:
        raw.send(GREETING, opening(1, request("Gated")), data(1, *[b""] * 3_000) * 200)
        await raw.find(Kind.RST_STREAM, 1)  # more than the window, which did not grow any more
        await until(lambda: not server._calls)


async def test_frames_of_unknown_types_are_ignored() -> None:
    echo = Echo()
    async with our_server(echo) as (_, address), raw_client(address) as raw:
        raw.send(GREETING, frame(0x42, 0xFF, 7, b"whatever"), whole_call(1, "Say"))
        assert await raw.status(1) == 0
