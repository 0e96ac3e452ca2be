"""Shards and schedulers die, hang, drain and change; every piece is answered all the same."""

import asyncio

import pytest

from services.common.models.repository import ModelRepository
from services.common.rpc.leader import SCHEDULER_ROLE
from services.scheduler.core import Scheduler as Core
from tests.gateway.dispatching import Stage, check, leading, started
from tests.in_process import running_shard
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


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
