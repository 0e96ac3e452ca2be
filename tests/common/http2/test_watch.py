"""Clients that have lost their network are let go; those that are only silent are not."""

import asyncio

import pytest

from services.common.http2.frames import Flag, Kind, frame
from tests.common.http2.ends import Echo, Methods, our_server, their_channel
from tests.common.http2.raw import GREETING, opening, raw_client, request
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look soon."""
    monkeypatch.setattr("services.common.http2.server_connection.PING_AFTER_S", 0.02)


async def test_a_client_that_does_not_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.PONG_WITHIN_S", 0.1)
    echo = Echo()
    async with our_server(echo) as (server, address), raw_client(address) as raw:
        raw.send(GREETING, opening(1, request("Talk")))
        await raw.find(Kind.PING, 0)
        await raw.closed()
        await until(lambda: not server._connections and not server._calls)
        assert echo.cancelled == 1


async def test_a_client_that_answers_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.PONG_WITHIN_S", 1.0)
    async with our_server(Echo()) as (server, address), raw_client(address) as raw:
        raw.send(GREETING)
        for _ in range(3):
            ping = await raw.find(Kind.PING, 0)
            raw.send(frame(Kind.PING, Flag.ACK, 0, bytes(ping.payload)))
        await raw.alive()
        assert len(server._connections) == 1


async def test_a_silent_client_of_grpcio_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.http2.server_connection.PONG_WITHIN_S", 1.0)
    echo = Echo()
    async with our_server(echo) as (server, address), their_channel(address) as channel:
        waiting = asyncio.ensure_future(wait(Methods(channel)))
        await until(lambda: echo.running == 1)
        (connection,) = server._connections
        for _ in range(2):  # each look begins with nothing heard
            await until(lambda: not connection.heard)
            await until(lambda: connection.heard)
        echo.gate.set()
        assert await waiting == b"m"


async def wait(call: Methods) -> bytes:
    """One long call."""
    response: bytes = await call.wait(b"m")
    return response
