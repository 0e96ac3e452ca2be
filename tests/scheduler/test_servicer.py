"""The scheduler over gRPC: what dispatchers and shards see of it."""

import grpc
import pytest
from grpc_status import rpc_status

from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from services.common.errors import FacetError, InvalidRequestError, NotLeaderError
from services.common.statuses import from_status
from services.scheduler.core import Scheduler as Core
from services.scheduler.desk import PART_WAIT_MS
from tests.leaks import no_task_left  # noqa: F401
from tests.outgoing import Outgoing
from tests.scheduler.helpers import CATS, DispatcherStream, dispatcher, enqueue, scheduler, shard
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("no_task_left")


async def lease_of(stream: DispatcherStream) -> scheduler_pb2.Lease:
    """The only lease of the next message."""
    (lease,) = (await stream.hear()).leases
    return lease


def domain_error(error: grpc.aio.AioRpcError) -> FacetError:
    """The error that a broken stream stands for."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: needs metadata
    assert status is not None
    return from_status(status)


async def test_a_piece_becomes_a_lease_and_a_grant() -> None:
    async with scheduler() as running, dispatcher(running.address) as d:
        d.say(enqueue(1, 2))
        async with shard(running.address) as s:
            lease, grant = await lease_of(d), (await s.hear()).grant
        assert lease.grant_id == grant.grant_id
        assert (lease.shard, lease.address) == ("s", "s:1")
        assert list(lease.piece_ids) == [1, 2]
        assert (lease.model, grant.model) == (CATS, CATS)
        assert (lease.grant_parts, grant.parts, grant.images) == (1, 1, 8)
        assert grant.expires_ms == PART_WAIT_MS


async def test_dispatchers_share_a_grant_and_have_numbers_of_their_own() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address, "d") as d,
        dispatcher(running.address, "e") as e,
    ):
        for stream in (d, e):
            stream.say(enqueue(1))
        await until(lambda: running.book.queued_images == 8)
        async with shard(running.address) as s:
            leases = [await lease_of(d), await lease_of(e)]
            grant = (await s.hear()).grant
        assert grant.parts == 2
        assert [lease.grant_parts for lease in leases] == [2, 2]
        assert [list(lease.piece_ids) for lease in leases] == [[1], [1]]


async def test_two_streams_of_one_dispatcher_do_not_mix() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as old,
        dispatcher(running.address) as new,
    ):
        old.say(enqueue(1))
        new.say(enqueue(1))
        await until(lambda: running.book.queued_images == 8)
        old.end()
        with pytest.raises(EOFError):
            await old.hear()
        await until(lambda: running.book.queued_images == 4)
        async with shard(running.address):
            assert list((await lease_of(new)).piece_ids) == [1]


async def test_an_answered_piece_is_forgotten() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address) as s,
    ):
        d.say(enqueue(1, images=8))
        grant = (await s.hear()).grant
        s.say(scheduler_pb2.PullRequest(finished=[grant.grant_id], pull=True))
        d.say(scheduler_pb2.DispatchRequest(completed=[1]))
        await until(lambda: running.book.empty)
        await until(lambda: running.book.outstanding_images("s") == 0)
        d.say(enqueue(2))
        assert (await s.hear()).grant.grant_id != grant.grant_id


async def test_a_cancelled_piece_is_not_leased() -> None:
    async with scheduler() as running, dispatcher(running.address) as d:
        d.say(enqueue(1, 2))
        d.say(scheduler_pb2.DispatchRequest(cancelled=[1]))
        await until(lambda: running.book.queued_images == 4)
        async with shard(running.address):
            assert list((await lease_of(d)).piece_ids) == [2]


async def test_dispatchers_hear_what_was_leased_for_nothing() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address, "d") as d,
        dispatcher(running.address, "e") as e,
        shard(running.address),
    ):
        d.say(enqueue(1, 2, 3))
        assert list((await lease_of(d)).piece_ids) == [1, 2, 3]
        d.say(scheduler_pb2.DispatchRequest(cancelled=[1], expired=[2], completed=[3]))
        told = {"cancelled": 4, "deadline": 4}
        assert await d.wasted() == told
        assert await e.wasted() == told
        async with dispatcher(running.address, "later") as later:
            assert await later.wasted() == told
        assert running.book.empty


async def test_dispatchers_hear_what_waits_and_what_was_asked_for() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, pulls=0, image_seconds=0.1),
    ):
        await until(lambda: bool(running.desk._shards))
        d.say(enqueue(1, 2, images=8))
        d.say(enqueue(3, images=16, timeout_ms=1000))
        queue = await d.queue(lambda queue: queue.refused_images > 0)
        assert queue.model == CATS
        assert (queue.asked_images, queue.refused_images, queue.waiting_images) == (32, 16, 16)
        assert queue.wait_us > 1_600_000
        async with dispatcher(running.address, "later") as later:
            assert await later.queue(lambda queue: True) == queue
        d.say(scheduler_pb2.DispatchRequest(cancelled=[1, 2]))
        queue = await d.queue(lambda queue: not queue.waiting_images)
        assert (queue.asked_images, queue.refused_images) == (32, 16)


async def test_what_was_not_leased_is_not_wasted() -> None:
    async with scheduler() as running, dispatcher(running.address) as d:
        d.say(enqueue(1, 2))
        await until(lambda: running.book.queued_images == 8)
        d.say(scheduler_pb2.DispatchRequest(cancelled=[1], expired=[2]))
        await until(lambda: running.book.empty)
        assert not running.book.wasted_images


async def test_a_lost_lease_is_leased_to_another_shard() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, "a"),
    ):
        d.say(enqueue(1))
        first = await lease_of(d)
        async with shard(running.address, "b"):
            d.say(
                scheduler_pb2.DispatchRequest(
                    lost=[
                        scheduler_pb2.LostPiece(
                            piece_id=1, grant_id=first.grant_id, shard_unreachable=True
                        )
                    ]
                )
            )
            second = await lease_of(d)
        assert (first.shard, second.shard) == ("a", "b")


async def test_what_a_shard_had_is_leased_to_another_when_its_stream_breaks() -> None:
    async with scheduler() as running, dispatcher(running.address) as d:
        async with shard(running.address, "a") as s:
            d.say(enqueue(1))
            first = await lease_of(d)
            await s.hear()
        async with shard(running.address, "b"):
            second = await lease_of(d)
        assert (first.shard, second.shard) == ("a", "b")
        assert first.grant_id != second.grant_id


async def test_the_pieces_of_a_dispatcher_end_with_its_stream() -> None:
    async with scheduler() as running, shard(running.address) as s:
        async with dispatcher(running.address) as d:
            d.say(enqueue(1, images=16))
            d.say(enqueue(2, images=16))
            await s.hear()
            await until(lambda: running.book.queued_images == 16)
        await until(lambda: running.book.empty)


async def test_a_piece_past_its_deadline_is_dropped() -> None:
    async with scheduler() as running, dispatcher(running.address) as d:
        d.say(enqueue(1, timeout_ms=1))
        d.say(enqueue(2))
        await until(lambda: running.book.queued_images == 4)
        async with shard(running.address):
            assert list((await lease_of(d)).piece_ids) == [2]


async def test_a_request_that_would_come_too_late_is_refused_as_a_whole() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, image_seconds=1),
    ):
        await until(lambda: bool(running.desk._shards))
        request = enqueue(1, 2, images=8, timeout_ms=2000)
        for piece in request.enqueue:
            piece.request_id = 7
        d.say(request)
        response = await d.hear()
        assert not response.leases
        (refusal,) = response.refusals
        assert refusal.request_id == 7
        assert refusal.predicted_ms > 2000
        assert refusal.retry_after_ms > 0
        assert running.book.empty
        # What was admitted before is not refused any more.
        for piece in request.enqueue:
            piece.admitted = True
        d.say(request)
        assert list((await lease_of(d)).piece_ids) == [1, 2]


async def test_requests_are_admitted_or_refused_before_their_pieces_are_there() -> None:
    def expected(request_id: int, images: int) -> scheduler_pb2.ExpectedRequest:
        return scheduler_pb2.ExpectedRequest(
            request_id=request_id, model=CATS, images=images, timeout_ms=20_000, confirm=True
        )

    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, image_seconds=1),
    ):
        await until(lambda: bool(running.desk._shards))
        d.say(scheduler_pb2.DispatchRequest(expected=[expected(7, 8), expected(8, 16)]))
        responses = [await d.hear()]
        if not (responses[0].admitted and responses[0].refusals):
            responses.append(await d.hear())
        assert [number for each in responses for number in each.admitted] == [7]
        assert [each.request_id for some in responses for each in some.refusals] == [8]
        request = enqueue(1, images=8)
        request.enqueue[0].request_id = 7
        request.enqueue[0].admitted = True
        d.say(request)
        assert list((await lease_of(d)).piece_ids) == [1]
        # What will not come leaves room for others.
        d.say(scheduler_pb2.DispatchRequest(expected=[expected(9, 4)]))
        assert list((await d.hear()).admitted) == [9]
        d.say(scheduler_pb2.DispatchRequest(abandoned=[9], completed=[1]))
        await until(lambda: running.book.empty)


async def test_an_expired_lease_comes_back() -> None:
    book = Core("epoch")
    async with (
        scheduler(book) as running,
        dispatcher(running.address) as d,
        shard(running.address, "a"),
        shard(running.address, "b"),
    ):
        d.say(enqueue(1))
        shards = {(await lease_of(d)).shard for _ in range(2)}
        assert shards == {"a", "b"}


async def test_a_shard_that_connects_again_replaces_its_former_stream() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, "a") as old,
    ):
        d.say(enqueue(1))
        first = await lease_of(d)
        await old.hear()
        async with shard(running.address, "a", pulls=0) as new:
            with pytest.raises(EOFError):
                await old.hear()
            await until(lambda: running.book.queued_images == 4)
            new.say(scheduler_pb2.PullRequest(pull=True))
            assert (await lease_of(d)).grant_id != first.grant_id
            await new.hear()


async def test_the_former_stream_of_a_shard_has_no_say() -> None:
    async with scheduler() as running:
        desk = running.desk
        hello = scheduler_pb2.ShardHello(shard="b", address="b:1")
        old = desk.shard_joined(hello)
        new = desk.shard_joined(hello)
        desk.shard_said("b", old, scheduler_pb2.PullRequest(pull=True, draining=True))
        desk.shard_left("b", old)
        assert running.book.outstanding_images("b") == 0
        desk.shard_left("b", new)
        desk.shard_said("b", new, scheduler_pb2.PullRequest(pull=True))
        with pytest.raises(KeyError):
            running.book.outstanding_images("b")


async def test_a_draining_shard_gets_no_grant() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address, "a") as s,
    ):
        d.say(enqueue(1))
        await s.hear()
        await lease_of(d)
        s.say(scheduler_pb2.PullRequest(draining=True))
        s.say(scheduler_pb2.PullRequest(pull=True))
        d.say(enqueue(2))
        async with shard(running.address, "b"):
            assert (await lease_of(d)).shard == "b"


@pytest.mark.parametrize("rpc", ["Dispatch", "Pull"])
async def test_a_standby_sends_everybody_away(rpc: str) -> None:
    async with scheduler() as running, grpc.aio.insecure_channel(running.address) as channel:
        running.desk.leading = False
        call = getattr(scheduler_pb2_grpc.SchedulerServiceStub(channel), rpc)(iter(()))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        error = domain_error(raised.value)
        assert isinstance(error, NotLeaderError)
        assert error.reason == "NOT_LEADER"


@pytest.mark.parametrize("rpc", ["Dispatch", "Pull"])
async def test_whoever_hesitates_finds_the_leadership_lost(rpc: str) -> None:
    message = scheduler_pb2.DispatchRequest if rpc == "Dispatch" else scheduler_pb2.PullRequest
    outgoing = Outgoing[object]()
    async with scheduler() as running, grpc.aio.insecure_channel(running.address) as channel:
        call = getattr(scheduler_pb2_grpc.SchedulerServiceStub(channel), rpc)(outgoing)
        await call.wait_for_connection()
        running.desk.leading = False
        running.desk.close_streams()
        outgoing.put(message())
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        outgoing.close()
        assert isinstance(domain_error(raised.value), NotLeaderError)


@pytest.mark.parametrize(
    ("rpc", "messages"),
    [
        ("Dispatch", []),
        ("Dispatch", [scheduler_pb2.DispatchRequest()]),
        ("Dispatch", [enqueue(1)]),
        ("Pull", []),
        ("Pull", [scheduler_pb2.PullRequest(pull=True)]),
        ("Pull", [scheduler_pb2.PullRequest(hello=scheduler_pb2.ShardHello(shard="a"))]),
        ("Pull", [scheduler_pb2.PullRequest(hello=scheduler_pb2.ShardHello(address="a:1"))]),
    ],
)
async def test_a_stream_that_begins_with_rubbish_is_refused(
    rpc: str, messages: list[object]
) -> None:
    async with scheduler() as running, grpc.aio.insecure_channel(running.address) as channel:
        call = getattr(scheduler_pb2_grpc.SchedulerServiceStub(channel), rpc)(iter(messages))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert isinstance(domain_error(raised.value), InvalidRequestError)
        assert running.book.empty


async def test_losing_the_leadership_ends_all_streams() -> None:
    async with (
        scheduler() as running,
        dispatcher(running.address) as d,
        shard(running.address) as s,
    ):
        d.say(enqueue(1))
        await s.hear()
        await lease_of(d)
        running.desk.leading = False
        running.desk.close_streams()
        for stream in (d, s):
            with pytest.raises(EOFError):
                await stream.hear()
        await until(lambda: running.book.empty)
