"""Requests that are refused, come too late or are not wanted any more leave nothing behind."""

import asyncio

import pytest

from services.common.errors import DeadlineExceededError, OverloadedError
from services.common.models.repository import ModelRepository
from tests.gateway.dispatching import Stage, check, started
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_a_deadline_ends_the_waiting_and_leaves_nothing(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        dispatcher = await stage.dispatcher()
        with pytest.raises(DeadlineExceededError, match="waiting for a shard"):
            await dispatcher.infer(1, seconds=0.05)
        scheduler = await stage.scheduler()
        await until(lambda: dispatcher.dispatcher.connected)
        with pytest.raises(DeadlineExceededError, match="waiting for a shard"):
            await dispatcher.infer(1, seconds=0.05)
        await until(lambda: scheduler.book.empty)
        shard = await stage.shard("s")
        shard.engine.open.clear()
        pending = dispatcher.start(1, seconds=1)
        await started(shard)
        with pytest.raises(DeadlineExceededError, match="during inference"):
            await pending
        await until(lambda: scheduler.book.empty)
        shard.engine.open.set()
        check(await dispatcher.infer(2), 2)


async def test_a_deadline_tells_what_went_wrong_last(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        dying = await stage.shard("a")
        dispatcher = await stage.dispatcher()
        dying.engine.open.clear()
        pending = dispatcher.start(1, seconds=2)
        await started(dying)
        await dying.die()
        with pytest.raises(DeadlineExceededError, match=r"during inference; last: .* was lost"):
            await pending


async def test_too_much_is_refused_on_arrival(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        dispatcher = await stage.dispatcher(max_queued_images=4)
        pending = dispatcher.start(1, 2, 3)
        await asyncio.sleep(0)
        with pytest.raises(OverloadedError) as raised:
            await dispatcher.infer(4, 5)
        assert raised.value.retry_after_s > 0
        await stage.shard("s")
        check(await pending, 1, 2, 3)
        check(await dispatcher.infer(1, 2, 3, 4), 1, 2, 3, 4)


async def test_what_would_come_too_late_is_refused_by_the_scheduler(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        scheduler = await stage.scheduler()
        shard = await stage.shard("s", image_seconds=10)
        dispatcher = await stage.dispatcher()
        await until(lambda: dispatcher.dispatcher.connected and bool(scheduler.desk._shards))
        with pytest.raises(OverloadedError, match="too close to the deadline") as raised:
            await dispatcher.infer(1, 2, 3, seconds=5)
        assert raised.value.retry_after_s > 0
        await until(lambda: scheduler.book.empty)
        assert shard.engine.batches == []
        check(await dispatcher.infer(1, seconds=100), 1)


@pytest.mark.parametrize("running", [False, True])
async def test_a_cancelled_request_is_forgotten(repository: ModelRepository, running: bool) -> None:
    async with Stage(repository) as stage:
        scheduler = await stage.scheduler()
        shard = await stage.shard("s") if running else None
        dispatcher = await stage.dispatcher()
        if shard is not None:
            shard.engine.open.clear()
        pending = dispatcher.start(1, 2, 3)
        await until(lambda: not scheduler.book.empty)
        if shard is not None:
            await started(shard)
        pending.cancel()
        await asyncio.gather(pending, return_exceptions=True)
        await until(lambda: scheduler.book.empty)
        if shard is not None:
            await until(lambda: len(shard.told) == 2)
            shard.engine.open.set()
            await until(lambda: shard.device.load.wasted_images == {"cancelled": 3})


async def test_what_is_cancelled_before_its_shard_is_known_is_not_sent(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        scheduler, shard = await stage.scheduler(), await stage.shard("s")
        stage.registry.remove(shard.instance)
        dispatcher = await stage.dispatcher()
        await until(lambda: dispatcher.dispatcher.connected)
        going, staying = dispatcher.start(1), dispatcher.start(2)
        await until(lambda: not scheduler.book.empty and scheduler.book.queued_images == 0)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        stage.registry.enter(shard.instance)
        check(await staying, 2)
        assert shard.engine.batches == [1]
        assert shard.told == []
        await until(lambda: scheduler.book.empty)


async def test_nothing_is_told_of_requests_that_end_normally(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        shard, dispatcher = await stage.shard("s"), await stage.dispatcher()
        for value in range(1, 6):
            check(await dispatcher.infer(value, value + 20), value, value + 20)
        assert shard.told == []
        assert not shard.device.load.wasted_images


async def test_pieces_of_one_part_have_deadlines_of_their_own(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler, dispatcher = await stage.scheduler(), await stage.dispatcher()
        late, patient = dispatcher.start(1, seconds=1), dispatcher.start(2)
        await until(lambda: scheduler.book.queued_images == 2)
        shard = await stage.shard("s", held=True)
        await started(shard)
        with pytest.raises(DeadlineExceededError, match="during inference"):
            await late
        await until(lambda: shard.told == ["deadline"])
        shard.engine.open.set()
        outputs = await patient
        check(outputs, 2)
        assert outputs[0].batch_size == 2
        assert shard.device.load.wasted_images["deadline"] == 1
        await until(lambda: scheduler.book.empty)
