"""A server that stops, seen by a client that speaks the frames itself."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.http2.frames import (
    MAX_WINDOW,
    PREFACE,
    Flag,
    Frame,
    FrameReader,
    Kind,
    frame,
    read_word,
    settings_frame,
)
from services.common.http2.headers import header_block
from services.common.http2.messages import prefix
from services.common.rpc.context import ServicerContext
from tests.servers import RunningServer, start_server
from tests.waiting import PATIENCE_S

REQUEST = header_block(
    [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/facet.cluster.v1.ClusterService/GetCluster"),
        (b":authority", b"test"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]
)


def last_stream(goaway: Frame) -> int:
    """The last stream that is taken."""
    return read_word(goaway.payload[:4])


class Quick(cluster_pb2_grpc.ClusterServiceServicer):
    """Answers at once."""

    async def GetCluster(
        self, request: cluster_pb2.GetClusterRequest, context: ServicerContext
    ) -> cluster_pb2.GetClusterResponse:
        """Answer."""
        return cluster_pb2.GetClusterResponse()


class RawClient:
    """A connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self._frames = FrameReader(1 << 20)
        self._read: list[Frame] = []
        self.writer.write(PREFACE + settings_frame({}))

    async def next(self, kind: Kind) -> Frame:
        """Return the next frame of a kind; others are passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                while self._read:
                    each = self._read.pop(0)
                    if each.kind == kind:
                        return each
                data = await self._reader.read(65_536)
                assert data, f"the end came before {kind.name}"
                self._read += self._frames.feed(data)

    def call(self, stream_id: int) -> None:
        """Send a whole call."""
        self.writer.write(
            frame(Kind.HEADERS, Flag.END_HEADERS, stream_id, REQUEST)
            + frame(Kind.DATA, Flag.END_STREAM, stream_id, prefix(0))
        )

    async def closed(self) -> None:
        """Wait for the end of the connection."""
        async with asyncio.timeout(PATIENCE_S):
            while await self._reader.read(65_536):
                pass


@pytest.fixture
async def server() -> AsyncIterator[RunningServer]:
    """A server that answers at once."""

    def add(server: Any) -> None:
        cluster_pb2_grpc.add_ClusterServiceServicer_to_server(Quick(), server)

    running = await start_server(add)
    yield running
    await running.die()


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[RawClient]:
    """A client of it that has been served."""
    raw = RawClient(*await asyncio.open_connection("127.0.0.1", server.port))
    raw.call(1)
    await raw.next(Kind.DATA)
    yield raw
    raw.writer.close()
    await raw.writer.wait_closed()


async def test_a_call_that_was_sent_before_the_news_came_is_answered(
    server: RunningServer, client: RawClient
) -> None:
    stopping = asyncio.create_task(server.server.stop(PATIENCE_S))
    news = await client.next(Kind.GOAWAY)
    assert last_stream(news) == MAX_WINDOW
    ping = await client.next(Kind.PING)
    client.call(3)
    answer = await client.next(Kind.DATA)
    assert answer.stream_id == 3
    assert not stopping.done()
    client.writer.write(frame(Kind.PING, Flag.ACK, 0, bytes(ping.payload)))
    last = await client.next(Kind.GOAWAY)
    assert last_stream(last) == 3
    await client.closed()
    await asyncio.wait_for(stopping, PATIENCE_S)


async def test_a_client_that_does_not_react_is_not_waited_for(
    server: RunningServer, client: RawClient
) -> None:
    await asyncio.wait_for(server.server.stop(2 * PATIENCE_S), PATIENCE_S)
    await client.closed()


async def test_grpcio_loses_no_call(server: RunningServer) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        answered = asyncio.Event()

        async def ask_until_it_fails() -> str | None:
            while True:
                try:
                    await stub.GetCluster(cluster_pb2.GetClusterRequest(), timeout=PATIENCE_S)
                except grpc.aio.AioRpcError as error:
                    return error.details()
                answered.set()

        asking = [asyncio.create_task(ask_until_it_fails()) for _ in range(16)]
        await answered.wait()
        await server.server.stop(PATIENCE_S)
        failures = await asyncio.wait_for(asyncio.gather(*asking), PATIENCE_S)
        # Nobody listens any more: what failed was a new connection, not a call.
        assert all("failed to connect" in (failure or "") for failure in failures), failures
