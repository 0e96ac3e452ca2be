"""A dispatcher with a real scheduler and real shards, all inside the test's own process."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import numpy as np

from facet.inference.v1 import inference_pb2
from gateway.dispatcher import Dispatcher
from gateway.pixels import PixelMemory
from gateway.requests import Output, Prepared
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.models.repository import ModelRepository
from services.common.rpc.fleet import Fleet
from services.common.rpc.leader import SCHEDULER_ROLE, follow_leader
from services.common.tensors import to_array
from services.scheduler.core import Scheduler as Core
from tests.fakes import MemoryRegistry
from tests.in_process import RunningShard, running_shard
from tests.inference.models import MODEL, load, pictures, scores_of
from tests.scheduler.helpers import Scheduler, scheduler
from tests.waiting import PATIENCE_S, until


class Dispatching:
    """A dispatcher that runs, and how to use it."""

    def __init__(
        self, dispatcher: Dispatcher, repository: ModelRepository, piece_images: int
    ) -> None:
        self.dispatcher = dispatcher
        self.descriptor = load(repository, MODEL, piece_images=piece_images).descriptor

    async def infer(self, *values: int, seconds: float = PATIENCE_S) -> list[Output]:
        """Infer pictures of these values."""
        return await self.dispatcher.infer(
            prepared(*values), self.descriptor, Deadline.after(seconds)
        )

    def start(self, *values: int, seconds: float = PATIENCE_S) -> asyncio.Task[list[Output]]:
        """Begin to infer pictures of these values."""
        return asyncio.create_task(self.infer(*values, seconds=seconds))


def prepared(*values: int) -> Prepared:
    """Pictures of these values, ready for the model."""
    return Prepared(
        count=len(values),
        positions=range(len(values)),
        pixels=[pictures(value).tobytes() for value in values],
    )


def check(outputs: list[Output], *values: int) -> None:
    """Each picture has its own scores, and all have some."""
    found: dict[int, Any] = {}
    for output in outputs:
        assert output.error is None
        assert output.scores is not None
        found.update(zip(output.positions, to_array(output.scores), strict=True))
    assert sorted(found) == list(range(len(values)))
    for position, value in enumerate(values):
        np.testing.assert_array_equal(found[position], scores_of(value)[0])


@asynccontextmanager
async def leading(
    registry: MemoryRegistry, book: Core | None = None, port: int = 0
) -> AsyncIterator[Scheduler]:
    """A scheduler that leads for the time of the block."""
    async with scheduler(book, port) as running:
        registry.appoint(SCHEDULER_ROLE, running.address)
        yield running


@asynccontextmanager
async def dispatching(
    registry: MemoryRegistry,
    repository: ModelRepository,
    *,
    name: str = "g",
    watched: set[str] | None = None,
    piece_images: int = 2,
    max_queued_images: int = 1000,
    on_change: Callable[[], None] = lambda: None,
) -> AsyncIterator[Dispatching]:
    """A dispatcher for the time of the block; nothing is left in it at the end.

    `watched`: it hears what shards report, and their names are put there when it has.
    """

    def reported(shard: str, report: inference_pb2.WatchShardResponse) -> None:
        if watched is not None and report.models_included:
            dispatcher.shard_reported(shard, report)
            watched.add(shard)

    fleet: Fleet[ShardLink] = Fleet(
        registry, "inference", lambda instance, changed: ShardLink(instance, changed, reported)
    )
    dispatcher = Dispatcher(
        name,
        fleet,
        PixelMemory(0),
        max_queued_images=max_queued_images,
        on_change=on_change,
    )
    tasks = [
        asyncio.create_task(fleet.run()),
        asyncio.create_task(follow_leader(registry, SCHEDULER_ROLE, dispatcher.session)),
    ]
    try:
        yield Dispatching(dispatcher, repository, piece_images)
        assert dispatcher._pieces == {}
        assert dispatcher.queued_images == 0
        await until(lambda: not dispatcher.deliveries.under_way)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Stage(AsyncExitStack):
    """Puts a cluster together piece by piece; it falls apart in the opposite order."""

    def __init__(self, repository: ModelRepository) -> None:
        super().__init__()
        self.registry = MemoryRegistry()
        self.repository = repository

    async def scheduler(self, book: Core | None = None) -> Scheduler:
        """Let a scheduler lead."""
        return await self.enter_async_context(leading(self.registry, book))

    async def shard(self, name: str, *, held: bool = False, **described: float) -> RunningShard:
        """Add a shard."""
        return await self.enter_async_context(
            running_shard(self.repository, self.registry, name, held=held, **described)
        )

    async def dispatcher(self, name: str = "g", **options: Any) -> Dispatching:
        """Add a dispatcher."""
        return await self.enter_async_context(
            dispatching(self.registry, self.repository, name=name, **options)
        )


async def started(shard: RunningShard) -> None:
    """Wait until a shard's device runs a batch."""
    assert await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
