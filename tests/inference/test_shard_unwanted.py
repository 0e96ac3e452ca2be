"""Work on a shard that nobody wants any more ends, or is counted as wasted, and harms nobody."""

import asyncio

import grpc
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2
from services.common.errors import (
    LinkLostError,
)
from services.common.models.repository import ModelRepository
from tests.inference.shard_calls import (
    announcement,
    call,
    calls_to,
    first_scores,
    request,
    trio,
)
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


def unwanted(
    *numbers: int,
    reason: inference_pb2.UnwantedReason = inference_pb2.UNWANTED_REASON_CANCELLED,
) -> inference_pb2.InferRequest:
    """The message that these pieces are not wanted any more."""
    return inference_pb2.InferRequest(
        unwanted=[inference_pb2.UnwantedPiece(piece_id=number, reason=reason) for number in numbers]
    )


async def test_a_caller_that_goes_leaves_nothing_behind(repository: ModelRepository) -> None:
    async with trio(repository) as (_, _, shard, _):
        async with calls_to(shard) as going:
            pending = asyncio.create_task(call(going, request((1,), grant="g", parts=2)))
            await until(lambda: shard.device.load.outstanding_images == 1)
        with pytest.raises(LinkLostError):
            await pending
        await until(lambda: shard.device.load.outstanding_images == 0)


async def test_a_caller_that_goes_while_its_batch_runs_is_counted_and_harms_nobody(
    repository: ModelRepository,
) -> None:
    async with (
        trio(repository) as (_, _, shard, link),
        grpc.aio.insecure_channel(shard.instance.address) as channel,
    ):
        shard.engine.open.clear()
        staying = asyncio.create_task(call(link, request((1, 2, 3), grant="g", parts=2)))
        async with calls_to(shard) as going:
            gone = asyncio.create_task(call(going, request((4,), grant="g", parts=2)))
            await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        with pytest.raises(LinkLostError):
            await gone
        await until(lambda: shard.device.load.outstanding_images == 3)
        shard.engine.open.set()
        assert await staying == [first_scores(1, 2, 3)]
        assert shard.engine.batches == [4]
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        watch = stub.WatchShard(inference_pb2.WatchShardRequest())
        load = (await watch.read()).load
        watch.cancel()
        assert load.wasted_images == {"disconnected": 1}
        assert load.wasted_us == {"disconnected": load.device_us // 4}
        assert load.completed_images == 4


async def test_a_cancelled_call_harms_no_other_on_its_stream(repository: ModelRepository) -> None:
    async with trio(repository) as (_, _, shard, link):
        shard.engine.open.clear()
        going, staying = (
            asyncio.create_task(call(link, request((value,), grant="g", parts=2)))
            for value in (1, 2)
        )
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        shard.engine.open.set()
        assert await staying == [first_scores(2)]
        assert going.cancelled()
        assert await call(link, request((3,), grant="h")) == [first_scores(3)]
        # To cancel a call tells the shard nothing; its dispatcher does.
        assert not shard.device.load.wasted_images


async def test_what_waits_on_a_shard_and_is_not_wanted_ends_at_once_and_is_not_run(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (_, _, shard, link):
        shard.engine.open.clear()
        running = asyncio.create_task(call(link, request((1,), grant="g")))
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        lone, mixed = request((2,), (3,), grant="h"), request((4,), (5, 6), grant="i")
        for number, piece in enumerate((*lone.pieces, *mixed.pieces), 11):
            piece.piece_id = number
        waiting = [asyncio.create_task(call(link, each)) for each in (lone, mixed)]
        await until(lambda: shard.device.waiting == 2)
        link.tell(unwanted(11, 13))
        link.tell(unwanted(12, 99))
        assert await waiting[0] == []
        assert shard.device.waiting == 1
        assert not running.done()
        shard.engine.open.set()
        assert await running == [first_scores(1)]
        assert await waiting[1] == [first_scores(5, 6)]
        assert shard.engine.batches == [1, 2]
        assert not shard.device.load.wasted_images
        await until(lambda: shard.device.load.outstanding_images == 0)


async def test_a_grant_of_which_nothing_is_wanted_is_finished(repository: ModelRepository) -> None:
    async with trio(repository) as (running, d, shard, link):
        shard.engine.open.clear()
        blocking = asyncio.create_task(call(link, request((1,), grant="g")))
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        d.say(announcement(7))
        (lease,) = (await d.hear()).leases
        mine = request((7,), grant=lease.grant_id)
        mine.pieces[0].piece_id = 7
        waiting = asyncio.create_task(call(link, mine))
        await until(lambda: shard.device.waiting == 1)
        d.say(scheduler_pb2.DispatchRequest(cancelled=[7]))
        link.tell(unwanted(7))
        assert await waiting == []
        await until(lambda: running.book.empty)
        await until(lambda: running.book.outstanding_images("s") == 0)
        shard.engine.open.set()
        assert await blocking == [first_scores(1)]
        assert shard.engine.batches == [1]


async def test_what_runs_and_is_not_wanted_is_counted_and_harms_nobody(
    repository: ModelRepository,
) -> None:
    async with (
        trio(repository) as (_, _, shard, link),
        calls_to(shard) as other,
        grpc.aio.insecure_channel(shard.instance.address) as channel,
    ):
        shard.engine.open.clear()
        # The pieces of both have the same ids: they are their dispatchers' own.
        mine = asyncio.create_task(call(link, request((1,), (2, 3), grant="g", parts=2)))
        others = asyncio.create_task(call(other, request((4,), (5,), grant="g", parts=2)))
        await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)
        link.tell(unwanted(1, reason=inference_pb2.UNWANTED_REASON_HEDGED))
        link.tell(unwanted(2))
        await until(lambda: shard.told == ["hedged", "cancelled"])
        assert not mine.done()  # its pixels are still read
        shard.engine.open.set()
        assert await mine == [first_scores(1), first_scores(2, 3)]
        assert await others == [first_scores(4), first_scores(5)]
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        watch = stub.WatchShard(inference_pb2.WatchShardRequest())
        load = (await watch.read()).load
        watch.cancel()
        assert load.completed_images == 5
        assert load.wasted_images == {"hedged": 1, "cancelled": 2}
        assert load.wasted_us == {
            "hedged": load.device_us // 5,
            "cancelled": load.device_us * 2 // 5,
        }


async def test_a_part_that_waits_for_others_and_is_not_wanted_ends_at_once(
    repository: ModelRepository,
) -> None:
    async with trio(repository) as (_, _, shard, link), calls_to(shard) as other:
        waiting = asyncio.create_task(call(link, request((1,), grant="g", parts=2)))
        await until(lambda: shard.device.load.outstanding_images == 1)
        link.tell(unwanted(1))
        assert await waiting == []
        assert await call(other, request((2,), grant="g", parts=2)) == [first_scores(2)]
        assert shard.engine.batches == [1]
