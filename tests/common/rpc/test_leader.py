"""A session follows the leader wherever it goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.errors import InternalError
from services.common.http2.channel import Channel
from services.common.rpc.leader import follow_leader
from tests.common.rpc.echo import Echo
from tests.fakes import MemoryRegistry
from tests.outgoing import Outgoing
from tests.servers import serving, start_server
from tests.waiting import PATIENCE_S, until

ROLE = "scheduler"


class Sessions:
    """Opens a stream in each session and counts them."""

    def __init__(self) -> None:
        self.started = 0
        self.open = 0
        self.failure: Exception | None = None

    async def session(self, channel: Channel) -> None:
        """Keep a stream open until it breaks."""
        self.started += 1
        self.open += 1
        outgoing = Outgoing[preprocessing_pb2.PrepareRequest]()
        try:
            if self.failure is not None:
                raise self.failure
            stub = preprocessing_pb2_grpc.PreprocessingServiceStub(channel)
            async for _ in stub.Prepare(outgoing):
                pass
        finally:
            outgoing.close()
            self.open -= 1


@asynccontextmanager
async def following(registry: MemoryRegistry) -> AsyncIterator[Sessions]:
    """Sessions that follow the leader for the time of the block."""
    sessions = Sessions()
    following = asyncio.create_task(follow_leader(registry, ROLE, sessions.session))
    try:
        yield sessions
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert sessions.open == 0


class Counting(Echo):
    """Counts the streams that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.streams = 0

    async def Prepare(self, requests: object, context: object) -> None:
        """Hold a stream open."""
        self.streams += 1
        try:
            await self.gate.wait()
        finally:
            self.streams -= 1


async def test_the_session_moves_with_the_leadership() -> None:
    registry, one, two = MemoryRegistry(), Counting(), Counting()
    async with serving(one.add) as first, serving(two.add) as second:
        async with following(registry):
            registry.appoint(ROLE, first.address)
            await until(lambda: (one.streams, two.streams) == (1, 0))
            registry.appoint(ROLE, second.address)
            await until(lambda: (one.streams, two.streams) == (0, 1))
            registry.appoint(ROLE)
            await until(lambda: (one.streams, two.streams) == (0, 0))
            registry.appoint(ROLE, first.address)
            await until(lambda: (one.streams, two.streams) == (1, 0))
        await until(lambda: one.streams == 0)


async def test_a_session_that_the_leader_ends_is_opened_again() -> None:
    registry, counting = MemoryRegistry(), Counting()
    async with serving(counting.add) as server, following(registry) as sessions:
        registry.appoint(ROLE, server.address)
        await until(lambda: counting.streams == 1)
        counting.gate.set()
        await until(lambda: sessions.started >= 2)


async def test_a_leader_that_is_restarted_at_its_address_is_found_again() -> None:
    registry = MemoryRegistry()
    old, new = Counting(), Counting()
    server = await start_server(old.add)
    async with following(registry):
        registry.appoint(ROLE, server.address)
        await until(lambda: old.streams == 1)
        await server.die()
        async with serving(new.add, port=server.port):
            await until(lambda: new.streams == 1)


async def test_a_session_that_swallows_its_end_does_not_hold_up_the_next() -> None:
    # As grpc.aio does when a call fails at the moment at which its task is cancelled.
    registry, addresses = MemoryRegistry(), list[object]()

    async def session(channel: Channel) -> None:
        addresses.append(channel)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise InternalError("the call failed") from None

    following = asyncio.create_task(follow_leader(registry, ROLE, session))
    registry.appoint(ROLE, "127.0.0.1:1")
    await until(lambda: len(addresses) == 1)
    registry.appoint(ROLE, "127.0.0.1:2")
    await until(lambda: len(addresses) == 2)
    following.cancel()
    await asyncio.wait_for(asyncio.gather(following, return_exceptions=True), PATIENCE_S)


async def test_a_session_that_fails_is_tried_again() -> None:
    registry, counting = MemoryRegistry(), Counting()
    async with serving(counting.add) as server, following(registry) as sessions:
        sessions.failure = InternalError("a fault")
        registry.appoint(ROLE, server.address)
        await until(lambda: sessions.started >= 2)
        sessions.failure = None
        await until(lambda: counting.streams == 1)
