"""A service with a stream of calls: it answers each picture with the picture.

python -m tests.common.rpc.echo PORT    serves in a process of its own and says its port
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from services.common.deadline import Deadline
from services.common.errors import InvalidRequestError
from services.common.http2.channel import Channel
from services.common.registry import Instance
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.rpc.links import Link
from tests.servers import AddToServer, start_server
from tests.waiting import PATIENCE_S

EchoLink = Link[preprocessing_pb2.PrepareRequest, preprocessing_pb2.PrepareResponse]

WAIT = b"wait"
"""Answered when the gate opens."""
REFUSE = b"refuse"
"""Answered with a domain error."""
BREAK = b"break"
"""The handler has a fault."""
NEVER = b"never"
"""Not answered."""
TELL = b"tell"
"""Only tells something."""


class Echo(preprocessing_pb2_grpc.PreprocessingServiceServicer):
    """Answers as the pictures say."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.draining = asyncio.Event()
        self.received = 0
        self.cancelled = 0
        self.told_after: list[int] = []
        """How much was received before each of what only told something."""

    @property
    def add(self) -> AddToServer:
        """Adds it to a server."""
        return partial(preprocessing_pb2_grpc.add_PreprocessingServiceServicer_to_server, self)

    async def Prepare(
        self, requests: AsyncIterator[preprocessing_pb2.PrepareRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await serve_calls(
            requests, context, self._answer, preprocessing_pb2.PrepareResponse, self.draining
        )

    async def _answer(
        self, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse | None:
        contents = list(request.images)
        if TELL in contents:
            assert request.call_id == 0
            self.told_after.append(self.received)
            return None
        self.received += 1
        try:
            if WAIT in contents:
                await self.gate.wait()
            if NEVER in contents:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if REFUSE in contents:
            raise InvalidRequestError("refused", reason="WRONG_SHAPE")
        if BREAK in contents:
            raise KeyError("a fault")
        return preprocessing_pb2.PrepareResponse(
            images=[preprocessing_pb2.PreparedImage(pixels=content) for content in contents]
        )


def open_stream(channel: Channel) -> Any:
    """Open a stream of calls to an echo."""
    return preprocessing_pb2_grpc.PreprocessingServiceStub(channel).Prepare()


def connect(instance: Instance, on_change: Callable[[], None]) -> EchoLink:
    """A link for a fleet."""
    return Link(instance.address, open_stream, on_change)


async def say(link: EchoLink, *contents: bytes, seconds: float = PATIENCE_S) -> list[bytes]:
    """Call the echo and return what it says."""
    response = await link.call(
        preprocessing_pb2.PrepareRequest(images=contents), Deadline.after(seconds)
    )
    return [image.pixels for image in response.images]


class Watched:
    """A link that runs, and events for its going up and down."""

    def __init__(self, address: str) -> None:
        self.changes: list[bool] = []
        self._changed = asyncio.Event()
        self.link: EchoLink = Link(address, open_stream, self._on_change)

    async def is_up(self, up: bool = True) -> None:
        """Wait until the link is up, or down."""
        async with asyncio.timeout(PATIENCE_S):
            while self.link.up is not up:
                self._changed.clear()
                await self._changed.wait()

    def _on_change(self) -> None:
        self.changes.append(self.link.up)
        self._changed.set()


@asynccontextmanager
async def linked(address: str) -> AsyncIterator[Watched]:
    """A link that is up for the time of the block."""
    watched = Watched(address)
    running = asyncio.create_task(watched.link.run())
    try:
        await watched.is_up()
        yield watched
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def _serve(port: int) -> None:
    running = await start_server(Echo().add, port=port)
    sys.stdout.write(f"{running.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
