"""Clients that break the protocol: they get their error, and all others are served on."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.http2.connection import MAX_BLOCK_FRAMES, MAX_FRAME, MAX_SETTINGS
from services.common.http2.frames import (
    MAX_CONTROL_BYTES,
    MAX_WINDOW,
    PREFACE,
    ErrorCode,
    Flag,
    Kind,
    Setting,
    frame,
    frame_header,
    settings_frame,
    word_frame,
)
from services.common.http2.headers import Header
from services.common.http2.limits import Limits
from services.common.http2.server import Server
from services.common.http2.stream import WINDOW
from tests.common.http2.ends import NO_LIMITS, Echo, Methods, our_server, their_channel
from tests.common.http2.raw import (
    END,
    END_HEADERS,
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

SETTINGS = settings_frame({})
OPEN = opening(1, request("Talk"))
SAY = whole_call(1, "Say")
FRAGMENT = frame(Kind.HEADERS, 0, 1, b"")
INDEXED = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4_000
"""A header of 4,000 bytes that enters the table."""


@asynccontextmanager
async def attacked(limits: Limits = NO_LIMITS) -> AsyncIterator[tuple[Server, Echo, Raw]]:
    """A server and an attacker; a healthy client is served before and after."""
    echo = Echo()
    serving = our_server(echo, limits=limits)
    async with serving as (server, address), their_channel(address) as channel:
        call = Methods(channel)
        assert await call.say(b"before") == b"before"
        async with raw_client(address) as raw:
            yield server, echo, raw
        assert await call.say(b"after") == b"after"
        await until(lambda: len(server._connections) == 1)
        await until(lambda: not any(each.streams for each in server._connections))
        await until(lambda: echo.running == 0 and not server._calls)


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        PREFACE + PING,
        PREFACE + PREFACE,
    ],
)
async def test_what_is_not_http2_is_let_go(sent: bytes) -> None:
    async with attacked() as (_, _, raw):
        raw.send(sent)
        assert await raw.ends_with() in (ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR)


async def test_a_torn_preface_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.PREFACE_WITHIN_S", 0.05)
    async with attacked() as (_, _, raw):
        raw.send(PREFACE[:10])
        await raw.closed()


PROTOCOL = ErrorCode.PROTOCOL_ERROR
FATAL = {
    "a control frame too large": (
        frame_header(Kind.HEADERS, 0, 1, MAX_CONTROL_BYTES + 1),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a data frame too large": (
        OPEN + frame_header(Kind.DATA, 0, 1, MAX_FRAME + 1),
        ErrorCode.FRAME_SIZE_ERROR,
    ),
    "a continuation of nothing": (frame(Kind.CONTINUATION, END_HEADERS, 1), PROTOCOL),
    "a continuation of another": (FRAGMENT + frame(Kind.CONTINUATION, END_HEADERS, 3), PROTOCOL),
    "empty continuations": (
        FRAGMENT + frame(Kind.CONTINUATION, 0, 1) * MAX_BLOCK_FRAMES,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "long continuations": (
        FRAGMENT + frame(Kind.CONTINUATION, 0, 1, b"\0" * 16_000) * 3,
        ErrorCode.ENHANCE_YOUR_CALM,
    ),
    "a ping in a block": (FRAGMENT + PING, PROTOCOL),
    "data in a block": (OPEN + frame(Kind.HEADERS, 0, 3, b"") + data(1, b"m"), PROTOCOL),
    "a bad block": (frame(Kind.HEADERS, END_HEADERS, 1, b"\xbf"), ErrorCode.COMPRESSION_ERROR),
    "a huge list": (
        frame(Kind.HEADERS, END_HEADERS, 1, INDEXED + b"\xbe" * 10_000),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "stream 0": (opening(0, request("Say")), PROTOCOL),
    "a stream of the server's": (opening(2, request("Say")), PROTOCOL),
    "backwards": (whole_call(5, "Say") + whole_call(3, "Say"), ErrorCode.STREAM_CLOSED),
    "data on stream 0": (data(0, b"m"), PROTOCOL),
    "data on an idle stream": (data(1, b"m"), PROTOCOL),
    "padded data on an idle stream": (frame(Kind.DATA, Flag.PADDED, 1, b"\0"), PROTOCOL),
    "a reset of an idle stream": (word_frame(Kind.RST_STREAM, 1, 0), PROTOCOL),
    "a window of an idle stream": (word_frame(Kind.WINDOW_UPDATE, 1, 1), PROTOCOL),
    "no window": (word_frame(Kind.WINDOW_UPDATE, 0, 0), PROTOCOL),
    "too much window": (
        word_frame(Kind.WINDOW_UPDATE, 0, MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "a first window too large": (
        settings_frame({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW + 1}),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "a window that settings make too large": (
        OPEN
        + word_frame(Kind.WINDOW_UPDATE, 1, MAX_WINDOW - 65_535)
        + settings_frame({Setting.INITIAL_WINDOW_SIZE: 65_536}),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "settings without end": (SETTINGS * MAX_SETTINGS, ErrorCode.ENHANCE_YOUR_CALM),
    "torn settings": (frame(Kind.SETTINGS, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
    "a push": (frame(Kind.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"), PROTOCOL),
    "more padding than data": (
        OPEN + frame(Kind.DATA, Flag.PADDED, 1, b"\x05abc"),
        PROTOCOL,
    ),
    "more padding than headers": (
        frame(Kind.HEADERS, Flag.PADDED | END_HEADERS, 1, b"\x05abc"),
        PROTOCOL,
    ),
    "a torn priority": (frame(Kind.PRIORITY, 0, 1, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("what", FATAL)
async def test_some_faults_end_the_connection(what: str) -> None:
    sent, code = FATAL[what]
    async with attacked() as (_, _, raw):
        raw.send(GREETING, sent)
        assert await raw.ends_with() == code


WAIT = whole_call(1, "Wait")
LOCAL = {
    "malformed headers": (opening(1, request("Say", (b"Upper", b"x"))), PROTOCOL),
    "no path": (opening(1, request("Say", without=b":path")), PROTOCOL),
    "headers after the end": (
        WAIT + opening(1, [(b"x", b"y")], END),
        ErrorCode.STREAM_CLOSED,
    ),
    "data after the end": (WAIT + data(1, b"more"), ErrorCode.STREAM_CLOSED),
    "one more end": (WAIT + frame(Kind.DATA, END, 1), ErrorCode.STREAM_CLOSED),
    "headers in between": (OPEN + opening(1, [(b"x", b"y")]), PROTOCOL),
    "no window": (OPEN + word_frame(Kind.WINDOW_UPDATE, 1, 0), PROTOCOL),
    "too much window": (
        OPEN + word_frame(Kind.WINDOW_UPDATE, 1, MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "more than the window": (
        opening(1, request("Gated")) + data(1, b"m" * 16_000) * 130,
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
}


@pytest.mark.parametrize("what", LOCAL)
async def test_other_faults_end_the_stream(what: str) -> None:
    sent, code = LOCAL[what]
    async with attacked() as (_, _, raw):
        raw.send(GREETING, sent)
        reset = await raw.find(Kind.RST_STREAM, 1)
        assert int.from_bytes(reset.payload, "big") == code
        raw.send(whole_call(3, "Say"))
        assert await raw.status(3) == 0


async def test_data_on_a_stream_that_has_ended_is_refused_once() -> None:
    async with attacked() as (_, _, raw):
        raw.send(GREETING, SAY)
        assert await raw.status(1) == 0
        raw.send(data(1, b"more"), data(1, b"more"), PING)
        reset = await raw.find(Kind.RST_STREAM, 1)
        assert int.from_bytes(reset.payload, "big") == ErrorCode.STREAM_CLOSED
        following = await raw.next()
        assert following is not None
        assert following.kind == Kind.PING


async def test_what_was_under_way_to_a_stream_that_was_reset_is_dropped() -> None:
    async with attacked() as (_, _, raw):
        raw.send(GREETING, opening(1, request("First")), data(1, b"m"))
        assert await raw.status(1) == 0
        raw.send(data(1, b"late"), opening(1, [(b"x", b"y")], END))
        await raw.alive()


STATUSES: dict[str, tuple[bytes, int]] = {
    "two requests": (opening(1, request("Say")) + data(1, b"a", b"b", flags=END), 12),
    "no request": (opening(1, request("Say"), END), 12),
    "an empty end": (opening(1, request("Say")) + frame(Kind.DATA, END, 1), 12),
    "a torn request": (opening(1, request("Say")) + frame(Kind.DATA, END, 1, b"\0\0\0"), 13),
    "a torn stream": (OPEN + frame(Kind.DATA, END, 1, b"\0\0\0\0\5abc"), 13),
    "a path that is no text": (
        opening(1, [*request("", without=b":path")[:2], (b":path", b"/\xff\xfe"),
                    (b"content-type", b"application/grpc")], END),
        12,
    ),
    "metadata that is no text": (
        opening(1, request("Metadata", (b"word", b"\xff\xfe"))) + data(1, b"", flags=END),
        0,
    ),
    "metadata that is no base64": (
        opening(1, request("Metadata", (b"raw-bin", b"?"))) + data(1, b"", flags=END),
        13,
    ),
    "no timeout": (opening(1, request("Say", (b"grpc-timeout", b"soon"))), 13),
    "an unknown compression": (opening(1, request("Say", (b"grpc-encoding", b"br"))), 12),
    "a compression not announced": (
        opening(1, request("Say")) + frame(Kind.DATA, END, 1, b"\1\0\0\0\1x"),
        13,
    ),
    "no gzip": (
        opening(1, request("Say", (b"grpc-encoding", b"gzip")))
        + frame(Kind.DATA, END, 1, b"\1\0\0\0\1x"),
        13,
    ),
    "a time that never comes": (
        opening(1, request("Say", (b"grpc-timeout", b"99999999H"))) + data(1, b"", flags=END),
        0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STATUSES)
async def test_what_only_grpc_forbids_is_answered_by_a_status(what: str) -> None:
    sent, status = STATUSES[what]
    async with attacked() as (_, _, raw):
        raw.send(GREETING, sent)
        assert await raw.status(1) == status
        await raw.alive()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ((b"content-type", b"text/html"), b"415"),
        ((b"content-type", b"application/grpc-web"), b"415"),
        ((b":method", b"GET"), b"405"),
    ],
)
async def test_what_is_not_grpc_is_answered_by_http(header: Header, status: bytes) -> None:
    headers = [(name, header[1] if name == header[0] else value) for name, value in request("Say")]
    async with attacked() as (_, _, raw):
        raw.send(GREETING, opening(1, headers))
        await raw.find(Kind.HEADERS, 1, END)
        assert raw.headers[b":status"] == status


async def test_padding_counts_for_the_window() -> None:
    padded = frame(Kind.DATA, Flag.PADDED, 1, b"\xff" + b"\0\0\0\0\1m" + b"\0" * 255)
    frames = 3 * WINDOW // 262
    async with attacked() as (_, _, raw):
        raw.send(GREETING, opening(1, request("Gather")), padded * frames)
        credit = 0
        while credit < frames * 262 - WINDOW:  # what a client needs to get on
            update = await raw.find(Kind.WINDOW_UPDATE, 1)
            credit += int.from_bytes(update.payload, "big")
        raw.send(frame(Kind.DATA, END, 1))
        assert await raw.status(1) == 0
        assert credit <= frames * 262


async def test_calls_that_are_reset_at_once_leave_nothing() -> None:
    async with attacked() as (server, echo, raw):
        raw.send(GREETING)
        for stream_id in range(1, 6_000, 2):
            method = "Wait" if stream_id % 4 == 1 else "Talk"
            raw.send(whole_call(stream_id, method), word_frame(Kind.RST_STREAM, stream_id, 8))
        await raw.alive()
        await until(lambda: not server._calls)
        assert echo.running == 0


async def test_no_more_calls_are_taken_than_were_announced() -> None:
    async with attacked(Limits(max_streams=10)) as (_, echo, raw):
        raw.send(GREETING, *(whole_call(stream_id, "Wait") for stream_id in range(1, 23, 2)))
        reset = await raw.find(Kind.RST_STREAM, 21)
        assert int.from_bytes(reset.payload, "big") == ErrorCode.REFUSED_STREAM
        assert echo.running == 10
        echo.gate.set()
        assert await raw.status(19) == 0
        raw.send(whole_call(23, "Say"))
        assert await raw.status(23) == 0


async def test_a_client_may_vanish_at_any_byte() -> None:
    wire = GREETING + OPEN + data(1, b"m" * 30) + WAIT.replace(b"\0\0\0\1", b"\0\0\0\3")
    echo = Echo()
    async with our_server(echo) as (server, address):
        for size in range(0, len(wire), 3):
            async with raw_client(address) as raw:
                raw.send(wire[:size])
                await asyncio.sleep(0)
        async with their_channel(address) as channel:
            assert await Methods(channel).say(b"after") == b"after"
        await until(lambda: not server._connections and not server._calls)
        assert echo.running == 0
