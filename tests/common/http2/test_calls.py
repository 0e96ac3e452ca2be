"""Calls of every kind, in both directions between us and grpcio."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from tests.common.http2.ends import Echo, Ends, Methods, our_server, their_channel
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

SIZES = [0, 1_000, 5_000_000]


async def each(*messages: bytes) -> AsyncIterator[bytes]:
    """A stream of them."""
    for message in messages:
        yield message


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error in which the call ends."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async with asyncio.timeout(PATIENCE_S):
            await call
    return raised.value


@pytest.mark.parametrize("size", SIZES)
async def test_one_request_has_one_response(ends: Ends, size: int) -> None:
    message = bytes(size)
    assert await ends.call.say(message) == message


@pytest.mark.parametrize("size", SIZES)
async def test_responses_come_one_by_one(ends: Ends, size: int) -> None:
    message = b"r" * size
    assert [response async for response in ends.call.repeat(message)] == [message] * 3


@pytest.mark.parametrize("size", SIZES)
async def test_requests_are_gathered(ends: Ends, size: int) -> None:
    requests = [b"q" * size] * 3
    assert await ends.call.gather(each(*requests)) == b"%d in 3" % (3 * size)


@pytest.mark.parametrize("size", SIZES)
async def test_both_talk_at_once(ends: Ends, size: int) -> None:
    requests = [bytes([number]) * size for number in range(4)]
    assert [response async for response in ends.call.talk(each(*requests))] == requests


async def test_there_may_be_no_messages_at_all(ends: Ends) -> None:
    assert [response async for response in ends.call.talk(each())] == []
    assert await ends.call.gather(each()) == b"0 in 0"


async def test_large_messages_share_a_connection(ends: Ends) -> None:
    messages = [bytes([number]) * 1_500_000 for number in range(8)]
    calls = [ends.call.say(message) for message in messages]
    streams = [drain(ends.call.talk(each(*messages[:3]))) for _ in range(3)]
    answers = await asyncio.gather(*(finished(call) for call in calls), *streams)
    assert answers == [*messages, *([messages[:3]] * 3)]


async def finished(call: Any) -> bytes:
    """The response of a call that has begun."""
    response: bytes = await call
    return response


async def drain(call: Any) -> list[bytes]:
    """All responses."""
    return [response async for response in call]


async def test_a_thousand_calls_at_once(ends: Ends) -> None:
    calls = [ends.call.wait(b"%d" % number) for number in range(1_000)]
    await until(lambda: ends.echo.running == 1_000)
    ends.echo.gate.set()
    answers = await asyncio.gather(*(finished(call) for call in calls))
    assert answers == [b"%d" % number for number in range(1_000)]


async def test_a_status_comes_with_its_metadata(ends: Ends) -> None:
    error = await failure(ends.call.abort(b""))
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert error.details() == "not hére, 100 %\n"
    trailing = dict(error.trailing_metadata())
    assert trailing["word"] == "a value"
    assert trailing["raw-bin"] == b"\0\xff"
    assert trailing["grpc-status-details-bin"] == b"d"


async def test_metadata_arrives(ends: Ends) -> None:
    sent = (("word", "a value"), ("raw-bin", b"\0\xff"))
    assert await ends.call.metadata(b"", metadata=sent) == repr(("a value", b"\0\xff")).encode()


async def test_a_method_may_be_missing(ends: Ends) -> None:
    assert (await failure(ends.call.missing(b""))).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_fault_of_a_handler_is_unknown(ends: Ends) -> None:
    error = await failure(ends.call.fail(b""))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "a fault" in (error.details() or "")


async def test_a_server_may_end_before_the_client_has_said_all(ends: Ends) -> None:
    never = asyncio.Event()
    closed = asyncio.Event()

    async def requests() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await never.wait()
        finally:
            closed.set()

    assert await drain(ends.call.first(requests())) == [b"first"]
    if ends.channel is not None:  # grpcio leaves the iterator of requests alone
        await asyncio.wait_for(closed.wait(), PATIENCE_S)
    never.set()


async def test_a_server_may_end_in_the_middle_of_large_requests(ends: Ends) -> None:
    large = bytes(3_000_000)
    call = ends.call.first(each(b"first", large, large))
    if ends.channel is not None:
        assert await drain(call) == [b"first"]
    else:
        # grpcio tells of the request that it could not send where it has not read the status yet.
        await asyncio.gather(drain(call), return_exceptions=True)
    assert await ends.call.say(b"on it goes") == b"on it goes"


async def test_compressed_requests_are_read() -> None:
    async with our_server(Echo()) as (_, address):
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            async with their_channel(address, compression=compression) as channel:
                call = Methods(channel)
                for message in (b"", b"c" * 100_000, gzip.compress(b"twice")):
                    assert await call.say(message) == message
                assert await drain(call.talk(each(b"a" * 5_000, b"", b"b"))) == [
                    b"a" * 5_000,
                    b"",
                    b"b",
                ]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_request_may_be_too_large(compression: grpc.Compression) -> None:
    echo = Echo()
    async with (
        our_server(echo, max_message_bytes=10_000) as (server, address),
        their_channel(address, compression=compression) as channel,
    ):
        call = Methods(channel)
        assert await call.say(bytes(10_000)) == bytes(10_000)
        error = await failure(call.say(bytes(10_001)))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        stream = call.talk(each(b"fits", bytes(10_001)))
        error = await failure(drain(stream))
        assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await until(lambda: echo.running == 0)
        assert not any(each.streams for each in server._connections)
