"""What clients may take of a server together: connections, and requests that never come."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.frames import Kind, frame
from services.common.http2.limits import Guests, Limits
from services.common.http2.messages import prefix
from services.common.http2.server import Server
from services.common.http2.stream import WINDOW
from tests.common.http2.ends import Echo, Methods, our_server, their_channel
from tests.common.http2.raw import GREETING, Raw, data, opening, raw_client, request, whole_call
from tests.common.http2.test_calls import failure
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")

DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]


@asynccontextmanager
async def limited(**bounds: float) -> AsyncIterator[tuple[Server, Echo, str]]:
    """A server with these limits; in the end nobody is connected and nothing is counted."""
    echo = Echo()
    async with our_server(echo, limits=Limits(**bounds)) as (server, address):  # type: ignore[arg-type]
        yield server, echo, address
        await until(lambda: not server._connections)
        assert server.arrivals is None or server.arrivals.bytes == 0


async def served(raw: Raw) -> None:
    """The client is one that the server takes calls of."""
    raw.send(GREETING, whole_call(1, "Say"))
    assert await raw.status(1) == 0


def torn(stream_id: int, message: bytes) -> bytes:
    """A frame with all of a message but its last byte."""
    return frame(Kind.DATA, 0, stream_id, (prefix(len(message)) + message)[:-1])


@pytest.mark.parametrize("bounds", [{"max_connections": 3}, {"max_peer_connections": 3}])
async def test_a_connection_too_many_is_closed(bounds: dict[str, float]) -> None:
    async with limited(**bounds) as (_, _, address), AsyncExitStack() as stack:
        first, *others = [await stack.enter_async_context(raw_client(address)) for _ in range(3)]
        for each in (first, *others):
            await served(each)
        async with raw_client(address) as refused:
            refused.send(GREETING, whole_call(1, "Say"))
            assert await refused.next() is None
        await first.alive()
        first.writer.close()
        await first.closed()
        async with raw_client(address) as next_one:
            await served(next_one)


async def test_a_grpc_client_that_is_too_many_may_try_again() -> None:
    async with limited(max_connections=1) as (_, _, address):
        async with raw_client(address) as only:
            await served(only)
            async with their_channel(address) as channel:
                error = await failure(Methods(channel).say(b"", timeout=20))
                assert error.code() is grpc.StatusCode.UNAVAILABLE
        async with their_channel(address) as channel:
            assert await Methods(channel).say(b"now", wait_for_ready=True) == b"now"


async def test_a_request_that_never_comes_ends_in_time() -> None:
    async with limited(request_within_s=0.2) as (server, echo, address):
        async with raw_client(address) as raw:
            raw.send(GREETING, opening(1, request("Say")))
            assert await raw.status(1) == DEADLINE_EXCEEDED
            raw.send(opening(3, request("Say")), torn(3, b"m" * 1_000))
            assert await raw.status(3) == DEADLINE_EXCEEDED
            raw.send(opening(5, request("Talk")), torn(5, b"m" * 1_000))
            assert await raw.status(5) == DEADLINE_EXCEEDED
            await until(lambda: not server._calls)
            raw.send(whole_call(7, "Say"))
            assert await raw.status(7) == 0
        assert echo.running == 0


async def test_streams_may_be_silent_between_requests_and_wait_for_their_server() -> None:
    serving = limited(request_within_s=0.05)
    async with serving as (server, echo, address), raw_client(address) as raw:
        # The first stream says nothing; the second one waits until its messages are read.
        raw.send(GREETING, opening(1, request("Talk")), opening(3, request("Gated")))
        raw.send(data(3, *[bytes(16_379)] * (WINDOW // 16_384)), torn(3, bytes(16_384)))
        await until(lambda: bool(server._connections))
        (connection,) = server._connections
        await until(lambda: 3 in connection.streams)
        # As long as calls of others come and end, these live.
        for stream_id in range(5, 11, 2):
            raw.send(opening(stream_id, request("Say")))
            assert await raw.status(stream_id) == DEADLINE_EXCEEDED
        assert {1, 3} <= connection.streams.keys()
        raw.send(data(1, b"late"))
        await until(lambda: echo.received == 1)


async def test_no_more_bytes_of_requests_lie_here_than_may() -> None:
    async with limited(max_arriving_bytes=100_000) as (server, _, address):
        assert server.arrivals is not None
        async with raw_client(address) as raw:
            raw.send(GREETING)
            for stream_id in range(1, 13, 2):
                raw.send(opening(stream_id, request("Say")), torn(stream_id, bytes(16_000)))
            await until(lambda: server.arrivals is not None and server.arrivals.bytes == 96_024)
            raw.send(opening(13, request("Say")), torn(13, bytes(16_000)))
            assert await raw.status(13) == RESOURCE_EXHAUSTED
            assert server.arrivals.bytes == 96_024
            raw.send(whole_call(15, "Say", b"small"))
            assert await raw.status(15) == 0
            raw.send(whole_call(17, "Say", bytes(10_000)))  # whole at once: it never lies here
            assert await raw.status(17) == 0
        await until(lambda: server.arrivals is not None and server.arrivals.bytes == 0)


@given(
    st.integers(0, 6),
    st.integers(0, 4),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abc"))),
)
def test_guests_are_counted_as_they_come_and_go(
    most: int, of_one: int, steps: list[tuple[bool, str]]
) -> None:
    guests = Guests(Limits(max_connections=most, max_peer_connections=of_one))
    inside: list[str] = []
    for enters, address in steps:
        if enters:
            room = (not most or len(inside) < most) and (
                not of_one or inside.count(address) < of_one
            )
            assert guests.enter(address) is room
            if room:
                inside.append(address)
        elif address in inside:
            inside.remove(address)
            guests.leave(address)
