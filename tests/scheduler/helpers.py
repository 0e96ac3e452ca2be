"""A scheduler on a port of its own, and dispatchers and shards that are no more than streams."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Generic, TypeVar

import grpc

from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from facet.type.v1 import model_pb2
from services.scheduler.core import Scheduler as Core
from services.scheduler.desk import Desk
from services.scheduler.servicer import SchedulerServicer
from tests.outgoing import Outgoing
from tests.servers import serving
from tests.waiting import PATIENCE_S

Request = TypeVar("Request")
Response = TypeVar("Response")

CATS = model_pb2.ModelVersion(name="cats", version=1)


class Scheduler:
    """A scheduler that leads, and where it is."""

    def __init__(self, book: Core) -> None:
        self.book = book
        self.desk = Desk(book)
        self.desk.leading = True
        self.address = ""


@asynccontextmanager
async def scheduler(book: Core | None = None, port: int = 0) -> AsyncIterator[Scheduler]:
    """A scheduler for the time of the block; its streams break at the end."""
    running = Scheduler(book or Core("epoch"))
    add = partial(
        scheduler_pb2_grpc.add_SchedulerServiceServicer_to_server,
        SchedulerServicer(running.desk),
    )
    async with serving(add, port=port) as server:
        running.address = server.address
        clock = asyncio.create_task(running.desk.keep_time())
        try:
            yield running
        finally:
            clock.cancel()
            await asyncio.gather(clock, return_exceptions=True)


class Stream(Generic[Request, Response]):
    """One open stream."""

    def __init__(self, outgoing: Outgoing[Request], call: Any) -> None:
        self._outgoing = outgoing
        self.call = call

    def say(self, message: Request) -> None:
        """Send a message."""
        self._outgoing.put(message)

    def end(self) -> None:
        """End it in order from this side."""
        self._outgoing.close()

    async def hear(self) -> Response:
        """Wait for a message; AioRpcError when the stream breaks, EOFError when it ends."""
        response: Response = await asyncio.wait_for(self.call.read(), PATIENCE_S)
        if response is grpc.aio.EOF:
            raise EOFError
        return response


class DispatcherStream(Stream[scheduler_pb2.DispatchRequest, scheduler_pb2.DispatchResponse]):
    """One dispatcher's stream."""

    async def hear(self) -> scheduler_pb2.DispatchResponse:
        """See Stream; passes over what was wasted, which comes at any time."""
        while True:
            response = await super().hear()
            if response.leases or response.refusals or response.admitted:
                return response

    async def wasted(self) -> dict[str, int]:
        """Wait for a message of what was wasted."""
        while not (response := await super().hear()).wasted_images:
            pass
        return dict(response.wasted_images)

    async def queue(
        self, holds: Callable[[scheduler_pb2.ModelQueue], bool]
    ) -> scheduler_pb2.ModelQueue:
        """Wait until what is said of the only queue is such that it holds."""
        while True:
            response = await super().hear()
            if response.queues and holds(response.queues[-1]):
                return response.queues[-1]


ShardStream = Stream[scheduler_pb2.PullRequest, scheduler_pb2.PullResponse]


@asynccontextmanager
async def dispatcher(address: str, name: str = "d") -> AsyncIterator[DispatcherStream]:
    """A dispatcher's stream for the time of the block."""
    async with grpc.aio.insecure_channel(address) as channel:
        outgoing = Outgoing[scheduler_pb2.DispatchRequest]()
        call = scheduler_pb2_grpc.SchedulerServiceStub(channel).Dispatch(outgoing)
        stream = DispatcherStream(outgoing, call)
        stream.say(scheduler_pb2.DispatchRequest(dispatcher=name))
        try:
            yield stream
        finally:
            outgoing.close()
            call.cancel()


@asynccontextmanager
async def shard(
    address: str, name: str = "s", pulls: int = 1, image_seconds: float = 0
) -> AsyncIterator[ShardStream]:
    """A shard's stream for the time of the block; it serves cats and has pulled."""
    async with grpc.aio.insecure_channel(address) as channel:
        outgoing = Outgoing[scheduler_pb2.PullRequest]()
        call = scheduler_pb2_grpc.SchedulerServiceStub(channel).Pull(outgoing)
        stream: ShardStream = Stream(outgoing, call)
        stream.say(
            scheduler_pb2.PullRequest(
                hello=scheduler_pb2.ShardHello(shard=name, address=f"{name}:1"),
                models=[
                    model_pb2.ModelDescriptor(model=CATS, max_batch=16, image_seconds=image_seconds)
                ],
                models_included=True,
            )
        )
        for _ in range(pulls):
            stream.say(scheduler_pb2.PullRequest(pull=True))
        try:
            yield stream
        finally:
            outgoing.close()
            call.cancel()


def enqueue(
    *numbers: int, images: int = 4, timeout_ms: int = 60_000
) -> scheduler_pb2.DispatchRequest:
    """The announcement of some pieces."""
    return scheduler_pb2.DispatchRequest(
        enqueue=[
            scheduler_pb2.PieceDescriptor(
                piece_id=number, model=CATS, images=images, timeout_ms=timeout_ms
            )
            for number in numbers
        ]
    )
