"""Servers that stop, in order or not."""

import asyncio

import grpc
import pytest

from services.common.http2.channel import Channel
from services.common.http2.frames import (
    MAX_WINDOW,
    ErrorCode,
    Flag,
    Kind,
    Setting,
    frame,
    settings_frame,
    word_frame,
)
from tests.common.http2.ends import Echo, Methods, our_server
from tests.common.http2.raw import GREETING, opening, raw_client, request, whole_call
from tests.common.http2.test_calls import drain, failure
from tests.common.http2.test_channel import finished
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_calls_in_hand_end_in_their_grace() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), Channel(address) as channel:
        call = Methods(channel)
        calls = [asyncio.create_task(finished(call.wait(b"%d" % n))) for n in range(5)]
        await until(lambda: echo.running == 5)
        stopping = asyncio.create_task(server.stop(PATIENCE_S))
        await until(lambda: channel._connection is not None and not channel._connection.usable)
        assert (await failure(call.say(b"late"))).code() is grpc.StatusCode.UNAVAILABLE
        assert not any(each.done() for each in calls)
        echo.gate.set()
        assert await asyncio.gather(*calls) == [b"%d" % n for n in range(5)]
        await stopping


async def test_without_grace_they_are_cancelled() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), Channel(address) as channel:
        call = Methods(channel)
        waiting = call.wait(b"")
        await until(lambda: echo.running == 1)
        await server.stop(0)
        assert (await failure(waiting)).code() is grpc.StatusCode.CANCELLED
        assert echo.cancelled == 1


async def test_large_responses_are_sent_to_the_end() -> None:
    """Their handlers have ended; the caller's window holds them up."""
    echo = Echo()
    async with our_server(echo) as (server, address), Channel(address) as channel:
        large = bytes(20_000_000)
        call = Methods(channel).wait(large)
        await until(lambda: echo.running == 1)
        echo.gate.set()
        await until(lambda: echo.running == 0)
        await server.stop(PATIENCE_S)
        assert await call == large


async def test_a_client_that_does_not_read_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.common.http2.server.GONE_WITHIN_S", 0.05)
    wide = settings_frame({Setting.INITIAL_WINDOW_SIZE: 2**31 - 1}) + word_frame(
        Kind.WINDOW_UPDATE, 0, 2**30
    )
    async with (
        our_server(Echo()) as (server, address),
        raw_client(address, receive_bytes=8_192) as raw,
    ):
        raw.send(GREETING, wide, whole_call(1, "Flood", bytes(100_000)))
        await until(lambda: any(each.write_paused for each in server._connections))
        async with asyncio.timeout(PATIENCE_S):
            await server.stop(0)
        assert not server._connections


async def test_a_handler_that_clings_to_its_call_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.common.http2.server.CANCELLED_WITHIN_S", 0.05)
    release = asyncio.Event()
    started = asyncio.Event()

    async def cling(request: bytes, context: object) -> bytes:
        while not release.is_set():
            started.set()
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return request

    echo = Echo()
    monkeypatch.setattr(echo, "say", cling)
    async with our_server(echo) as (server, address), Channel(address) as channel:
        call = Methods(channel).say(b"")
        await started.wait()
        await server.stop(0)
        assert (await failure(call)).code() is grpc.StatusCode.UNAVAILABLE
        release.set()
        await until(lambda: not server._calls)


async def test_a_stopping_server_refuses_new_calls() -> None:
    echo = Echo()
    async with our_server(echo) as (server, address), raw_client(address) as raw:
        raw.send(GREETING, whole_call(1, "Wait"))
        await until(lambda: echo.running == 1)
        stopping = asyncio.create_task(server.stop(PATIENCE_S))
        news = await raw.find(Kind.GOAWAY, 0)
        assert int.from_bytes(news.payload[:4], "big") == MAX_WINDOW  # what is under way is taken
        ping = await raw.find(Kind.PING, 0)
        raw.send(frame(Kind.PING, Flag.ACK, 0, bytes(ping.payload)))
        goaway = await raw.find(Kind.GOAWAY, 0)
        assert int.from_bytes(goaway.payload[:4], "big") == 1
        raw.send(opening(3, request("Talk")))
        reset = await raw.find(Kind.RST_STREAM, 3)
        assert int.from_bytes(reset.payload, "big") == ErrorCode.REFUSED_STREAM
        raw.send(word_frame(Kind.RST_STREAM, 3, ErrorCode.CANCEL))
        echo.gate.set()
        assert await raw.status(1) == 0
        await stopping
        await raw.closed()


async def test_stopping_twice_is_stopping_once() -> None:
    async with our_server(Echo()) as (server, address), Channel(address) as channel:
        assert await drain(Methods(channel).repeat(b"m")) == [b"m"] * 3
        await asyncio.gather(server.stop(1), server.stop(0))
        await server.stop(0)


async def test_a_server_may_stop_before_it_started() -> None:
    async with our_server(Echo()) as (server, _):
        pass
    await server.stop(0)
