"""The serving end of a stream of calls."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import pytest

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.http2.server import Server
from services.common.rpc.calls import answer_stream
from services.common.rpc.context import ServicerContext
from tests.common.rpc.echo import NEVER, WAIT, Echo
from tests.outgoing import Outgoing
from tests.servers import serving
from tests.waiting import PATIENCE_S, until


def request(call_id: int, *contents: bytes) -> preprocessing_pb2.PrepareRequest:
    """A call."""
    return preprocessing_pb2.PrepareRequest(call_id=call_id, images=contents)


@asynccontextmanager
async def stream_to(
    add: Callable[[Server], None],
) -> AsyncIterator[tuple[Outgoing[preprocessing_pb2.PrepareRequest], Any]]:
    """A bare stream to a server: what goes out, and the call itself."""
    outgoing = Outgoing[preprocessing_pb2.PrepareRequest]()
    async with serving(add) as server, grpc.aio.insecure_channel(server.address) as channel:
        call = preprocessing_pb2_grpc.PreprocessingServiceStub(channel).Prepare(outgoing)
        try:
            yield outgoing, call
        finally:
            outgoing.close()
            call.cancel()


async def ids(call: Any) -> list[int]:
    """The ids of all answers until the stream ends."""
    async with asyncio.timeout(PATIENCE_S):
        return [response.call_id async for response in call]


async def test_a_half_closed_stream_is_answered_to_the_end() -> None:
    echo = Echo()
    async with stream_to(echo.add) as (outgoing, call):
        for number in range(1, 6):
            outgoing.put(request(number, WAIT))
        outgoing.close()
        await until(lambda: echo.received == 5)
        echo.gate.set()
        assert sorted(await ids(call)) == [1, 2, 3, 4, 5]
        assert await call.code() is grpc.StatusCode.OK


async def test_an_empty_stream_ends_in_order() -> None:
    async with stream_to(Echo().add) as (outgoing, call):
        outgoing.close()
        assert await ids(call) == []


async def test_what_is_in_hand_ends_with_the_callers_stream() -> None:
    echo = Echo()
    async with stream_to(echo.add) as (outgoing, call):
        for number in range(3):
            outgoing.put(request(number, NEVER))
        await until(lambda: echo.received == 3)
        call.cancel()
        await until(lambda: echo.cancelled == 3)


async def test_a_draining_stream_ends_once_its_calls_are_answered() -> None:
    echo = Echo()
    async with stream_to(echo.add) as (outgoing, call):
        outgoing.put(request(1, WAIT))
        await until(lambda: echo.received == 1)
        echo.draining.set()
        reading = asyncio.create_task(ids(call))
        echo.gate.set()
        assert await reading == [1]
        assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_to_a_draining_server_ends_at_once() -> None:
    echo = Echo()
    echo.draining.set()
    async with stream_to(echo.add) as (_, call):
        assert await ids(call) == []
        assert echo.received == 0


class Narrow(preprocessing_pb2_grpc.PreprocessingServiceServicer):
    """Has at most two requests in hand."""

    def __init__(self) -> None:
        self.in_hand = 0
        self.most = 0
        self.steps = asyncio.Semaphore(0)

    async def Prepare(
        self, requests: AsyncIterator[preprocessing_pb2.PrepareRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await answer_stream(requests, context, self._answer, asyncio.Event(), max_in_hand=2)

    async def _answer(
        self, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse:
        self.in_hand += 1
        self.most = max(self.most, self.in_hand)
        await self.steps.acquire()
        self.in_hand -= 1
        return preprocessing_pb2.PrepareResponse(call_id=request.call_id)


async def test_no_more_is_read_than_may_be_in_hand() -> None:
    narrow = Narrow()
    add = partial(preprocessing_pb2_grpc.add_PreprocessingServiceServicer_to_server, narrow)
    async with stream_to(add) as (outgoing, call):
        for number in range(20):
            outgoing.put(request(number))
        outgoing.close()
        await until(lambda: narrow.in_hand == 2)
        reading = asyncio.create_task(ids(call))
        for _ in range(20):
            narrow.steps.release()
        assert sorted(await reading) == list(range(20))
    assert narrow.most == 2


async def test_a_closed_outgoing_stream_takes_nothing_more() -> None:
    outgoing = Outgoing[int]()
    outgoing.put(1)
    outgoing.close()
    outgoing.put(2)
    outgoing.close()
    assert [message async for message in outgoing] == [1]


@pytest.mark.parametrize("streams", [8])
async def test_callers_do_not_mix(streams: int) -> None:
    echo = Echo()
    async with serving(echo.add) as server:

        async def one(stream: int) -> set[tuple[int, bytes]]:
            outgoing = Outgoing[preprocessing_pb2.PrepareRequest]()
            async with grpc.aio.insecure_channel(server.address) as channel:
                call = preprocessing_pb2_grpc.PreprocessingServiceStub(channel).Prepare(outgoing)
                for number in range(20):
                    outgoing.put(request(number, b"%d/%d" % (stream, number)))
                outgoing.close()
                return {(response.call_id, response.images[0].pixels) async for response in call}

        answers = await asyncio.gather(*(one(stream) for stream in range(streams)))
    for stream, answer in enumerate(answers):
        assert answer == {(number, b"%d/%d" % (stream, number)) for number in range(20)}
