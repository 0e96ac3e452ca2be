"""A shard between a real scheduler and dispatchers."""

import asyncio
import time

import grpc
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2
from services.common.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
)
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.inference.servicer import _set_within
from tests.fakes import MemoryRegistry
from tests.in_process import running_shard
from tests.inference.models import MAX_BATCH, MODEL
from tests.inference.shard_calls import (
    announcement,
    call,
    calls_to,
    first_scores,
    leading,
    request,
    trio,
)
from tests.leaks import no_task_left  # noqa: F401
from tests.models.contents import write_content
from tests.scheduler.helpers import dispatcher
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_a_shard_asks_for_work_and_does_it_again_and_again(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (running, d, shard, link):
        for number in range(1, 6):
            d.say(announcement(number))
            (lease,) = (await d.hear()).leases
            assert (lease.shard, lease.address) == ("s", shard.instance.address)
            message = request((number,), grant=lease.grant_id, parts=lease.grant_parts)
            assert await call(link, message) == [first_scores(number)]
            d.say(scheduler_pb2.DispatchRequest(completed=[number]))
        await until(lambda: running.book.empty)
        await until(lambda: running.book.outstanding_images("s") == 0)
        assert shard.device.load.outstanding_images == 0
        assert shard.device.load.completed_batches == 5


async def test_a_shard_takes_no_more_grants_than_it_can_keep_busy_with(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (running, d, shard, link):
        shard.engine.open.clear()
        d.say(announcement(*range(1, 100), images=MAX_BATCH))
        (first,) = (await d.hear()).leases
        batch = request((1,) * MAX_BATCH, grant=first.grant_id)
        pending = asyncio.create_task(call(link, batch))
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        # One on the device, and at most the next one on its way.
        assert running.book.outstanding_images("s") <= 2 * MAX_BATCH
        shard.engine.open.set()
        await pending
        (second,) = (await d.hear()).leases
        assert second.grant_id != first.grant_id
        assert running.book.outstanding_images("s") == MAX_BATCH


async def test_the_parts_of_two_dispatchers_run_together(repository: ModelRepository) -> None:
    registry = MemoryRegistry()
    async with (
        leading(registry) as running,
        dispatcher(running.address, "d") as d,
        dispatcher(running.address, "e") as e,
    ):
        for stream in (d, e):
            stream.say(announcement(1))
        await until(lambda: running.book.queued_images == 2)
        async with running_shard(repository, registry) as shard, calls_to(shard) as link:
            (lease,) = (await d.hear()).leases
            one, two = request((1,), parts=2), request((2,), parts=2)
            one.grant_id = two.grant_id = lease.grant_id
            answers = await asyncio.gather(call(link, one), call(link, two))
            assert list(answers) == [[first_scores(1)], [first_scores(2)]]
            assert shard.engine.batches == [2]


async def test_a_part_does_not_wait_for_ever_for_the_others(repository: ModelRepository) -> None:
    async with trio(repository) as (running, d, shard, link):
        assert await call(link, request((1,), grant="g", parts=2)) == [first_scores(1)]
        assert await call(link, request((2,), grant="g", parts=2)) == [first_scores(2)]
        assert shard.engine.batches == [1, 1]
        # A grant of which no part comes is given back too.
        d.say(announcement(1))
        await d.hear()
        await until(lambda: running.book.outstanding_images("s") == 0)


async def test_errors_go_to_the_part_that_they_belong_to(repository: ModelRepository) -> None:
    async with trio(repository) as (_, _, _, link):
        short = request((1,), grant="g", parts=3)
        short.pieces[0].images = 2
        outcomes = await asyncio.gather(
            call(link, short),
            call(link, request((1,), grant="g", parts=3, timeout_ms=0)),
            call(link, request((1,), grant="g", parts=3)),
            call(link, request((1,), grant="h", model=ModelKey("sums", 9))),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], InvalidRequestError)
        assert isinstance(outcomes[1], DeadlineExceededError)
        assert outcomes[2] == [first_scores(1)]
        assert isinstance(outcomes[3], ModelNotFoundError)


async def test_a_shard_outlives_its_scheduler(repository: ModelRepository) -> None:
    registry = MemoryRegistry()
    async with running_shard(repository, registry) as shard, calls_to(shard) as link:
        shard.engine.open.clear()
        async with leading(registry) as old, dispatcher(old.address) as d:
            d.say(announcement(1))
            (lease,) = (await d.hear()).leases
            pending = asyncio.create_task(call(link, request((1,), grant=lease.grant_id)))
            await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        async with leading(registry) as new, dispatcher(new.address) as d:
            d.say(announcement(7))
            shard.engine.open.set()
            assert await pending == [first_scores(1)]
            (lease,) = (await d.hear()).leases
            assert await call(link, request((7,), grant=lease.grant_id)) == [first_scores(7)]
            await until(lambda: new.book.outstanding_images("s") == 0)


async def test_a_new_version_is_offered_to_the_scheduler_and_to_watchers(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (_, d, shard, link):
        async with grpc.aio.insecure_channel(shard.instance.address) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            watch = stub.WatchShard(inference_pb2.WatchShardRequest())
            first = await watch.read()
            assert first.models_included
            assert [model.model.version for model in first.models] == [1]
            assert first.models[0].max_batch == MAX_BATCH
            repository.publish(MODEL.name, write_content)
            async with asyncio.timeout(PATIENCE_S):
                while [model.model.version for model in (await watch.read()).models] != [1, 2]:
                    pass
            watch.cancel()
        newer = announcement(1)
        newer.enqueue[0].model.version = 2
        d.say(newer)
        (lease,) = (await d.hear()).leases
        message = request((3,), grant=lease.grant_id, model=ModelKey(MODEL.name, 2))
        assert await call(link, message) == [first_scores(3)]


async def test_a_change_in_the_moment_in_which_its_wait_ends_is_not_lost() -> None:
    change = asyncio.Event()
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(_set_within(change, 0.01))
    await asyncio.sleep(0)
    loop.call_later(0.01, change.set)
    time.sleep(0.03)  # noqa: ASYNC251
    # Both are due when the loop comes round.
    assert await waiting
