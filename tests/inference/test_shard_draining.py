"""A shard that drains finishes what it has, says so, and takes no more."""

import asyncio

import grpc
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.errors import (
    UnavailableError,
)
from services.common.models.repository import ModelRepository
from tests.fakes import MemoryRegistry
from tests.in_process import running_shard
from tests.inference.shard_calls import (
    announcement,
    call,
    first_scores,
    leading,
    request,
    trio,
)
from tests.leaks import no_task_left  # noqa: F401
from tests.scheduler.helpers import dispatcher
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def test_draining_finishes_what_is_in_hand(repository: ModelRepository) -> None:
    async with trio(repository) as (running, d, shard, link):
        shard.engine.open.clear()
        d.say(announcement(1))
        (lease,) = (await d.hear()).leases
        pending = asyncio.create_task(call(link, request((1,), grant=lease.grant_id)))
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        draining = asyncio.create_task(shard.drain())
        assert not (await asyncio.wait({draining}, timeout=0.05))[0]
        shard.engine.open.set()
        assert await pending == [first_scores(1)]
        await asyncio.wait_for(draining, PATIENCE_S)
        await until(lambda: not link.up)
        await until(lambda: running.book.outstanding_images("s") == 0)
        d.say(announcement(2))
        await until(lambda: running.book.queued_images == 1)


async def test_draining_does_not_wait_for_parts_that_never_come(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (_, d, shard, _):
        d.say(announcement(1))
        await d.hear()
        await asyncio.wait_for(shard.drain(), PATIENCE_S)


async def test_an_idle_shard_drains_at_once_and_takes_no_more(
    repository: ModelRepository,
) -> None:
    registry = MemoryRegistry()
    async with running_shard(repository, registry) as shard:
        await shard.drain()
        async with leading(registry) as running, dispatcher(running.address) as d:
            d.say(announcement(1))
            await until(lambda: running.book.queued_images == 1)
            async with running_shard(repository, registry, "other"):
                (lease,) = (await d.hear()).leases
            assert lease.shard == "other"


async def test_watchers_see_the_load_until_the_shard_drains(repository: ModelRepository) -> None:
    async with (
        trio(repository) as (_, _, shard, link),
        grpc.aio.insecure_channel(shard.instance.address) as channel,
    ):
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        watch = stub.WatchShard(inference_pb2.WatchShardRequest())
        assert (await watch.read()).load.outstanding_images == 0
        shard.engine.open.clear()
        pending = asyncio.create_task(call(link, request((1, 2, 3))))
        async with asyncio.timeout(PATIENCE_S):
            while (report := await watch.read()).load.outstanding_images != 3:
                assert not report.models_included
        shard.engine.open.set()
        await pending
        async with asyncio.timeout(PATIENCE_S):
            while (report := await watch.read()).load.completed_images != 3:
                pass
        assert report.load.completed_batches == 1
        await shard.drain()
        async with asyncio.timeout(PATIENCE_S):
            while await watch.read() is not grpc.aio.EOF:
                pass


async def test_a_draining_shard_hands_back_what_comes_late(repository: ModelRepository) -> None:
    async with trio(repository) as (_, _, shard, link):
        await shard.drain()
        await until(lambda: not link.up)
        with pytest.raises(UnavailableError):
            await call(link, request((1,)))
