"""Pieces find their shards, whatever happens to shards and schedulers meanwhile."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import DeadlineExceededError, OverloadedError
from services.common.models.repository import ModelRepository
from services.common.rpc.leader import SCHEDULER_ROLE
from services.scheduler.core import Scheduler as Core
from services.scheduler.descriptors import Piece, PieceKey
from tests.fakes import POISON, MemoryRegistry
from tests.gateway.dispatching import Dispatching, check, dispatching, leading
from tests.in_process import RunningShard, running_shard
from tests.inference.models import MODEL, repository_in
from tests.leaks import no_task_left  # noqa: F401
from tests.scheduler.helpers import Scheduler
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with the model."""
    return repository_in(tmp_path)


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


async def test_what_a_dead_shard_had_is_done_by_another(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler, dying = await stage.scheduler(), await stage.shard("a")
        dispatcher = await stage.dispatcher()
        dying.engine.open.clear()
        pending = dispatcher.start(1, 2, 3)
        await started(dying)
        await stage.shard("b")
        await dying.die()
        outputs = await pending
        check(outputs, 1, 2, 3)
        assert {(output.shard, output.attempts) for output in outputs} == {("b", 2)}
        await until(lambda: scheduler.book.empty)


async def test_what_a_hanging_shard_has_is_done_by_another(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        scheduler = await stage.scheduler(Core("epoch"))
        hanging = await stage.shard("a")
        dispatcher = await stage.dispatcher()
        hanging.engine.open.clear()
        pending = dispatcher.start(1, 2, 3)
        await started(hanging)
        await stage.shard("b")
        outputs = await pending
        check(outputs, 1, 2, 3)
        assert {output.shard for output in outputs} == {"b"}
        # The late answer of the other one disturbs nobody.
        hanging.engine.open.set()
        check(await dispatcher.infer(4), 4)
        await until(lambda: scheduler.book.empty)


async def test_a_draining_shard_loses_nothing(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.scheduler()
        leaving, dispatcher = await stage.shard("a"), await stage.dispatcher()
        leaving.engine.open.clear()
        first = dispatcher.start(1)
        await started(leaving)
        second = dispatcher.start(2)
        draining = asyncio.create_task(leaving.drain())
        await stage.shard("b")
        leaving.engine.open.set()
        check(await first, 1)
        check(await second, 2)
        await asyncio.wait_for(draining, PATIENCE_S)
        check(await dispatcher.infer(3), 3)


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


async def test_a_scheduler_that_is_restarted_is_told_what_waits(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        dispatcher = await stage.dispatcher()
        async with leading(stage.registry) as old:
            waiting = dispatcher.start(1, 2)
            await until(lambda: old.book.queued_images == 2)
        async with leading(stage.registry, port=int(old.address.rpartition(":")[2])) as new:
            await until(lambda: new.book.queued_images == 2)
            await stage.shard("s")
            check(await waiting, 1, 2)
            await until(lambda: new.book.empty)


async def test_what_is_on_a_shard_outlives_its_scheduler(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        shard, dispatcher = await stage.shard("s"), await stage.dispatcher()
        async with leading(stage.registry):
            shard.engine.open.clear()
            running = dispatcher.start(1, 2)
            await started(shard)
        new = await stage.scheduler()
        await until(lambda: dispatcher.dispatcher.connected)
        assert new.book.empty  # the piece is in good hands and not announced again
        shard.engine.open.set()
        outputs = await running
        check(outputs, 1, 2)
        assert {output.attempts for output in outputs} == {1}
        await until(lambda: new.book.empty)


async def test_what_is_lost_after_a_change_of_schedulers_is_announced_again(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        dying, dispatcher = await stage.shard("a"), await stage.dispatcher()
        async with leading(stage.registry):
            dying.engine.open.clear()
            pending = dispatcher.start(1, 2)
            await started(dying)
        new = await stage.scheduler()
        await until(lambda: dispatcher.dispatcher.connected)
        await stage.shard("b")
        await dying.die()
        check(await pending, 1, 2)
        await until(lambda: new.book.empty)


async def test_an_answered_piece_of_an_open_request_is_not_announced_again(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        shard, dispatcher = await stage.shard("s"), await stage.dispatcher(piece_images=16)
        async with leading(stage.registry):
            await until(lambda: dispatcher.dispatcher.connected)
            shard.engine.open.clear()
            pending = dispatcher.start(*range(14, 54))
            await started(shard)
            first, *_ = dispatcher.dispatcher._pieces.values()
            shard.engine.hold_after(1)
            await until(lambda: first.answer.done())
            assert not pending.done()
        new = await stage.scheduler()
        await until(lambda: dispatcher.dispatcher.connected)
        shard.engine.open.set()
        check(await pending, *range(14, 54))
        await until(lambda: new.book.empty)


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


async def test_what_was_admitted_once_is_not_refused_by_the_next_scheduler(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        dispatcher = await stage.dispatcher()
        async with leading(stage.registry) as old:
            waiting = dispatcher.start(1, seconds=PATIENCE_S)
            await until(lambda: old.book.queued_images == 1)
        await stage.shard("s", image_seconds=1000)
        scheduler = await stage.scheduler()
        check(await waiting, 1)
        await until(lambda: scheduler.book.empty)


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


async def test_many_requests_through_deaths_and_elections(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        dispatcher = await stage.dispatcher()
        requests = [
            dispatcher.start(*(20 + (first + n) % 200 for n in range(1 + first % 7)))
            for first in range(120)
        ]
        done: list[asyncio.Task[object]] = []
        for request in requests:
            request.add_done_callback(done.append)
        for round_ in range(3):
            async with (
                leading(stage.registry),
                running_shard(repository, stage.registry, f"a{round_}") as dying,
                running_shard(repository, stage.registry, f"b{round_}"),
            ):
                enough = min(len(requests), (round_ + 1) * 30)
                await until(lambda enough=enough: len(done) >= enough)  # type: ignore[misc]
                await dying.die()
        scheduler = await stage.scheduler()
        await stage.shard("last")
        for first, request in enumerate(requests):
            check(await request, *(20 + (first + n) % 200 for n in range(1 + first % 7)))
        await until(lambda: scheduler.book.empty)


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


async def test_a_scheduler_that_dies_is_not_missed(repository: ModelRepository) -> None:
    async with Stage(repository) as stage:
        await stage.shard("s")
        dispatcher = await stage.dispatcher(watched=set())
        async with leading(stage.registry):
            await until(lambda: dispatcher.dispatcher.connected)
            check(await dispatcher.infer(1, 2), 1, 2)
        check(await dispatcher.infer(3, 4), 3, 4)
        new = await stage.scheduler()
        await until(lambda: dispatcher.dispatcher.connected)
        check(await dispatcher.infer(5), 5)
        await until(lambda: new.book.empty)


async def test_what_a_shard_loses_while_no_scheduler_leads_goes_to_another(
    repository: ModelRepository,
) -> None:
    async with Stage(repository) as stage:
        watched: set[str] = set()
        dying, dispatcher = await stage.shard("a"), await stage.dispatcher(watched=watched)
        async with leading(stage.registry):
            dying.engine.open.clear()
            pending = dispatcher.start(1, 2)
            await started(dying)
            await stage.shard("b")
            await until(lambda: watched == {"a", "b"})
            stage.registry.appoint(SCHEDULER_ROLE)
        await until(lambda: not dispatcher.dispatcher.connected)
        await dying.die()
        check(await pending, 1, 2)
