"""Workers that are reserved for one try of a training."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Final, cast

import grpc
import structlog

from facet.training.v1 import training_pb2, training_pb2_grpc
from services.common.errors import UnavailableError
from services.common.http2.channel import Channel
from services.common.http2.client_call import Call
from services.common.registry import Instance, Registry
from services.training.distributed.sources import WorkerSource
from services.training.distributed.worker import NAME

log = structlog.get_logger(__name__)

RESERVE_S: Final = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A reserved worker; the stream to it is open."""

    instance: Instance
    address: str
    """host:port where the other members reach its member."""
    events: AsyncGenerator[training_pb2.RunMemberResponse, None]
    _call: Call[training_pb2.RunMemberResponse]

    def start(self, start: training_pb2.Start) -> None:
        """Start its member."""
        self._call.send(training_pb2.RunMemberRequest(start=start))


@asynccontextmanager
async def reserved_seats(registry: Registry, source: WorkerSource) -> AsyncIterator[list[Seat]]:
    """Reserve workers for the block; whatever runs on them ends with it.

    As many as wanted, and fewer when there are not so many in time. Raises UnavailableError
    (NO_TRAINING_WORKER) when there is none.
    """
    seats: list[Seat] = []
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(source.patience_s):
                await _fill(seats, stack, registry, source)
        except TimeoutError:
            if not seats:
                raise UnavailableError(
                    "no training worker is free; start some with `facet train-worker`",
                    reason="NO_TRAINING_WORKER",
                ) from None
        # Everybody is to have the same order, whoever answered first.
        yield sorted(seats, key=lambda seat: seat.instance.id)


async def _fill(
    seats: list[Seat], stack: AsyncExitStack, registry: Registry, source: WorkerSource
) -> None:
    tried: set[str] = set()
    async with aclosing(registry.watch(NAME)) as views:
        async for view in views:
            fresh = [each for each in view.instances if each.id not in tried]
            while fresh and len(seats) < source.wanted:
                asked = fresh[: source.wanted - len(seats)]
                fresh = fresh[len(asked) :]
                tried.update(each.id for each in asked)
                answers = await asyncio.gather(*(_reserve(each, stack, source) for each in asked))
                seats.extend(filter(None, answers))
            if len(seats) == source.wanted:
                return


async def _reserve(instance: Instance, stack: AsyncExitStack, source: WorkerSource) -> Seat | None:
    """Reserve one worker; None when it cannot be had."""
    channel = await stack.enter_async_context(Channel(instance.address, source.tls))
    stub = training_pb2_grpc.TrainingWorkerServiceStub(channel)
    call: Call[training_pb2.RunMemberResponse] = stub.RunMember()
    # It is a generator: left alone it would be closed by a task of nobody's, some time.
    events = cast("AsyncGenerator[training_pb2.RunMemberResponse, None]", aiter(call))
    stack.push_async_callback(events.aclose)
    call.send(training_pb2.RunMemberRequest(reserve=training_pb2.Reserve()))
    try:
        async with asyncio.timeout(RESERVE_S):
            first = await anext(events)
    except (grpc.aio.AioRpcError, TimeoutError, StopAsyncIteration) as error:
        reason = error.details() if isinstance(error, grpc.aio.AioRpcError) else "no answer"
        log.info("worker cannot be had", worker=instance.id, reason=reason)
        if not reachable(error):
            await source.discard(instance)
        return None
    return Seat(instance, first.reserved.address, events, call)


def reachable(error: BaseException) -> bool:
    """Tell whether an error of a call is what the worker itself answered."""
    # What a worker says has details beyond the code: see `services.common.statuses`.
    return isinstance(error, grpc.aio.AioRpcError) and bool(error.trailing_metadata())
