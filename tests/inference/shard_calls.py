"""A shard with a real scheduler and a dispatcher's links to both, all inside the test's process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2
from services.common.deadline import Deadline
from services.common.http2.channel import Channel
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.rpc.leader import SCHEDULER_ROLE
from services.common.rpc.links import Link
from services.common.tensors import to_array
from tests.fakes import MemoryRegistry
from tests.in_process import RunningShard, running_shard
from tests.inference.models import MODEL, pictures, scores_of
from tests.scheduler.helpers import DispatcherStream, Scheduler, dispatcher, scheduler
from tests.waiting import PATIENCE_S, until

ShardCalls = Link[inference_pb2.InferRequest, inference_pb2.InferResponse]


@asynccontextmanager
async def calls_to(shard: RunningShard) -> AsyncIterator[ShardCalls]:
    """A link to a shard, as dispatchers have it."""

    def open_stream(channel: Channel) -> Any:
        return inference_pb2_grpc.InferenceServiceStub(channel).Infer()

    link: ShardCalls = Link(shard.instance.address, open_stream, lambda: None)
    running = asyncio.create_task(link.run())
    try:
        await until(lambda: link.up)
        yield link
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def leading(registry: MemoryRegistry) -> AsyncIterator[Scheduler]:
    """A scheduler that leads."""
    async with scheduler() as running:
        registry.appoint(SCHEDULER_ROLE, running.address)
        yield running


@asynccontextmanager
async def trio(
    repository: ModelRepository,
) -> AsyncIterator[tuple[Scheduler, DispatcherStream, RunningShard, ShardCalls]]:
    """A scheduler, a dispatcher, a shard and the dispatcher's link to it."""
    registry = MemoryRegistry()
    async with (
        leading(registry) as running,
        dispatcher(running.address) as d,
        running_shard(repository, registry) as shard,
        calls_to(shard) as link,
    ):
        yield running, d, shard, link


def request(
    *pieces: tuple[int, ...],
    grant: str = "unknown",
    parts: int = 1,
    model: ModelKey = MODEL,
    timeout_ms: int = 60_000,
) -> inference_pb2.InferRequest:
    """A part; each piece is the values of its pictures."""
    return inference_pb2.InferRequest(
        timeout_ms=timeout_ms,
        grant_id=grant,
        grant_parts=parts,
        model=model.to_message(),
        pieces=[
            inference_pb2.Piece(
                piece_id=number, images=len(values), pixels=[pictures(*values).tobytes()]
            )
            for number, values in enumerate(pieces, 1)
        ],
    )


def announcement(*numbers: int, images: int = 1) -> scheduler_pb2.DispatchRequest:
    """Pieces for the model."""
    return scheduler_pb2.DispatchRequest(
        enqueue=[
            scheduler_pb2.PieceDescriptor(
                piece_id=number, model=MODEL.to_message(), images=images, timeout_ms=60_000
            )
            for number in numbers
        ]
    )


async def call(link: ShardCalls, message: inference_pb2.InferRequest) -> list[list[float]]:
    """The first score of each picture, piece by piece."""
    response = await link.call(message, Deadline.after(PATIENCE_S))
    return [to_array(output.scores)[:, 0].tolist() for output in response.outputs]


def first_scores(*values: int) -> list[float]:
    """What `call` returns for a piece."""
    scores: list[float] = scores_of(*values)[:, 0].tolist()
    return scores
