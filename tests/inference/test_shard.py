"""A shard between a real scheduler and dispatchers."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    LinkLostError,
    ModelNotFoundError,
    UnavailableError,
)
from services.common.http2.channel import Channel
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.rpc.leader import SCHEDULER_ROLE
from services.common.rpc.links import Link
from services.common.tensors import to_array
from services.inference.servicer import _set_within
from tests.fakes import MemoryRegistry
from tests.in_process import RunningShard, running_shard
from tests.inference.models import MAX_BATCH, MODEL, pictures, repository_in, scores_of
from tests.leaks import no_task_left  # noqa: F401
from tests.models.contents import write_content
from tests.scheduler.helpers import DispatcherStream, Scheduler, dispatcher, scheduler
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

ShardCalls = Link[inference_pb2.InferRequest, inference_pb2.InferResponse]


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with the model."""
    return repository_in(tmp_path)


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


def unwanted(
    *numbers: int,
    reason: inference_pb2.UnwantedReason = inference_pb2.UNWANTED_REASON_CANCELLED,
) -> inference_pb2.InferRequest:
    """The message that these pieces are not wanted any more."""
    return inference_pb2.InferRequest(
        unwanted=[inference_pb2.UnwantedPiece(piece_id=number, reason=reason) for number in numbers]
    )


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


async def test_a_change_in_the_moment_in_which_its_wait_ends_is_not_lost() -> None:
    change = asyncio.Event()
    loop = asyncio.get_running_loop()
    waiting = asyncio.create_task(_set_within(change, 0.01))
    await asyncio.sleep(0)
    loop.call_later(0.01, change.set)
    time.sleep(0.03)  # noqa: ASYNC251
    # Both are due when the loop comes round.
    assert await waiting
