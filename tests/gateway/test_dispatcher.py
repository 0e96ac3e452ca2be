"""Pieces find their shards."""

import asyncio

import pytest

from services.common.models.repository import ModelRepository
from services.scheduler.descriptors import Piece, PieceKey
from tests.fakes import POISON, MemoryRegistry
from tests.gateway.dispatching import Stage, check, dispatching, leading, started
from tests.inference.models import MODEL
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_a_request_is_answered(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler, shard = await stage.scheduler(), await stage.shard("s")
        dispatcher = await stage.dispatcher()
        outputs = await dispatcher.infer(1, 2, 3)
        check(outputs, 1, 2, 3)
        assert {output.shard for output in outputs} == {"s"}
        assert {output.attempts for output in outputs} == {1}
        assert shard.engine.batches == [3]
        assert {output.batch_size for output in outputs} == {3}
        assert await dispatcher.infer() == []
        await until(lambda: scheduler.book.empty)


async def test_a_large_request_runs_on_several_shards_at_once(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        shards = [await stage.shard("a"), await stage.shard("b")]
        dispatcher = await stage.dispatcher(piece_images=8)
        for shard in shards:
            shard.engine.open.clear()
        await until(lambda: dispatcher.dispatcher.connected)
        pending = dispatcher.start(*range(20, 60))
        for shard in shards:
            await started(shard)
        for shard in shards:
            shard.engine.open.set()
        outputs = await pending
        check(outputs, *range(20, 60))
        assert {output.shard for output in outputs} == {"a", "b"}
        assert [len(output.positions) for output in outputs] == [8] * 5


async def test_two_dispatchers_share_a_batch(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler = await stage.scheduler()
        one, two = await stage.dispatcher("one"), await stage.dispatcher("two")
        pending = [one.start(1), two.start(2)]
        await until(lambda: scheduler.book.queued_images == 2)
        shard = await stage.shard("s")
        for task, value in zip(pending, (1, 2), strict=True):
            check(await task, value)
        assert shard.engine.batches == [2]


async def test_requests_wait_for_the_first_scheduler_and_the_first_shard(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        dispatcher = await stage.dispatcher()
        pending = dispatcher.start(1, 2)
        await asyncio.sleep(0)
        scheduler = await stage.scheduler()
        await until(lambda: scheduler.book.queued_images == 2)
        await stage.shard("s")
        check(await pending, 1, 2)


async def test_a_lease_of_what_nobody_wants_is_ended_at_once(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler = await stage.scheduler()
        await stage.shard("s")
        dispatcher = await stage.dispatcher()
        check(await dispatcher.infer(1), 1)
        (stream,) = scheduler.desk._dispatchers
        scheduler.book.enqueue([Piece(PieceKey(stream, 77), MODEL, 1, deadline=float("inf"))])
        check(await dispatcher.infer(2), 2)
        await until(lambda: scheduler.book.empty)


async def test_a_poison_piece_fails_alone(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        await stage.shard("s")
        dispatcher = await stage.dispatcher(piece_images=1)
        fine, poisoned, other = await dispatcher.infer(1, POISON, 3)
        assert poisoned.scores is None
        assert poisoned.error is not None
        assert poisoned.error.reason == "MODEL_FAILED"
        assert list(poisoned.positions) == [1]
        check([fine], 1)
        assert other.error is None


async def test_a_shard_that_the_registry_names_late_is_waited_for(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        scheduler, shard = await stage.scheduler(), await stage.shard("s")
        stage.registry.remove(shard.instance)
        dispatcher = await stage.dispatcher()
        await until(lambda: dispatcher.dispatcher.connected)
        pending = dispatcher.start(1)
        await until(lambda: not scheduler.book.empty and scheduler.book.queued_images == 0)
        stage.registry.enter(shard.instance)
        outputs = await pending
        check(outputs, 1)
        assert outputs[0].attempts == 1


async def test_whoever_shows_the_cluster_hears_of_the_connection(
    repository: ModelRepository,
) -> None:
    registry, seen = MemoryRegistry(), list[bool]()
    async with dispatching(
        registry,
        repository,
        on_change=lambda: seen.append(running.dispatcher.connected),
    ) as running:
        async with leading(registry):
            await until(lambda: seen == [True])
        await until(lambda: seen == [True, False])


async def test_without_a_scheduler_pieces_go_where_they_finish_first(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        watched: set[str] = set()
        for name in ("s", "t"):
            await stage.shard(name, batch_seconds=0.01, image_seconds=0.001)
        dispatcher = await stage.dispatcher(watched=watched)
        await until(lambda: watched == {"s", "t"})
        outputs = await dispatcher.infer(*range(1, 13))
        check(outputs, *range(1, 13))
        assert {output.shard for output in outputs} == {"s", "t"}
