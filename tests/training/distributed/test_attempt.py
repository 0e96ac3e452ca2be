"""Reserving workers and following them; the workers are real servers that say what they are told.

What real members do is tested in test_training_on_workers.py.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from facet.training.v1 import training_pb2, training_pb2_grpc
from services.common.errors import FacetError, InternalError, InvalidRequestError, UnavailableError
from services.common.registry import Instance, Registry, open_registry
from services.common.rpc.context import ServicerContext, abort
from services.common.statuses import to_status
from services.training.distributed.attempt import Attempt, Cause, MemberLostError
from services.training.distributed.seats import reserved_seats
from services.training.distributed.worker import NAME
from tests.leaks import no_task_left  # noqa: F401
from tests.servers import RunningServer, start_server

pytestmark = pytest.mark.usefixtures("no_task_left")

Event = training_pb2.RunMemberResponse
ALIVE = Event(alive=training_pb2.Alive(ready=True))
FINISHED = Event(finished=training_pb2.Finished())
AGAIN = Event(failed=training_pb2.Failed(error=to_status(InternalError("no peer")), again=True))


def ended(epoch: int, digest: str) -> Event:
    """The end of an epoch."""
    return Event(epoch_ended=training_pb2.EpochEnded(epoch=epoch, weights_sha256=digest))


class Scripted(training_pb2_grpc.TrainingWorkerServiceServicer):
    """Says its lines when it is started, and nothing more; it ends when its last line is an end."""

    def __init__(self, *lines: Event, refuses: FacetError | None = None) -> None:
        self._lines = lines
        self._refuses = refuses
        self.started: list[training_pb2.Start] = []
        self.gone = asyncio.Event()

    async def RunMember(
        self, requests: AsyncIterator[training_pb2.RunMemberRequest], context: ServicerContext
    ) -> None:
        """Serve one coordinator."""
        assert (await anext(requests)).HasField("reserve")
        if self._refuses:
            await abort(context, self._refuses)
        await context.write(Event(reserved=training_pb2.Reserved(address=f"member-{id(self)}:1")))
        try:
            self.started.append((await anext(requests)).start)
            for line in self._lines:
                await context.write(line)
            if not self._lines or self._lines[-1].WhichOneof("event") not in ("finished", "failed"):
                await asyncio.Event().wait()
        finally:
            self.gone.set()


class Source:
    """A WorkerSource that remembers whom it was to replace."""

    tls = None

    def __init__(self, wanted: int, patience_s: float = 30.0) -> None:
        self.wanted = wanted
        self.patience_s = patience_s
        self.discarded: list[str] = []

    async def discard(self, instance: Instance) -> None:
        self.discarded.append(instance.id)


class Stage:
    """Scripted workers that are registered."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.servers: list[RunningServer] = []

    async def enter(self, *workers: Scripted) -> None:
        """Serve and register them."""
        for worker in workers:
            server = await start_server(
                lambda server, worker=worker: (  # type: ignore[misc]
                    training_pb2_grpc.add_TrainingWorkerServiceServicer_to_server(worker, server)
                )
            )
            self.servers.append(server)
            name = f"worker-{len(self.servers)}"
            await self.registry.register(server.instance(NAME, name))

    async def play(
        self, source: Source, silence_s: float = 30.0
    ) -> tuple[list[Event], Sequence[str]]:
        """Try once; return what the first said, and who took part."""
        heard: list[Event] = []
        async with reserved_seats(self.registry, source) as seats:  # type: ignore[arg-type]
            order = training_pb2.Start(job_url="memory://job")
            await Attempt(seats, heard.append, silence_s).run(order)
            return heard, [seat.instance.id for seat in seats]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """An empty one."""
    registry = open_registry((tmp_path / "registry").as_uri())
    stage = Stage(registry)
    yield stage
    await registry.close()
    for server in stage.servers:
        await server.die()


async def test_all_are_started_with_one_list_and_the_first_is_heard(stage: Stage) -> None:
    workers = [Scripted(ALIVE, ended(1, "a"), FINISHED) for _ in range(3)]
    await stage.enter(*workers)
    heard, names = await stage.play(Source(3))
    assert names == ["worker-1", "worker-2", "worker-3"]
    assert [event.WhichOneof("event") for event in heard] == ["alive", "epoch_ended"]
    starts = [worker.started[0] for worker in workers]
    assert [start.index for start in starts] == [0, 1, 2]
    assert {tuple(start.members) for start in starts} == {
        tuple(f"member-{id(worker)}:1" for worker in workers)
    }


async def test_weights_that_differ_end_the_training(stage: Stage) -> None:
    await stage.enter(
        Scripted(ended(1, "a"), ended(2, "b")), Scripted(ended(1, "a"), ended(2, "c"))
    )
    with pytest.raises(InternalError, match="after epoch 2 the workers' weights differ") as raised:
        await stage.play(Source(2))
    assert raised.value.reason == "TRAINING_WEIGHTS_DIFFER"


async def test_a_silent_member_is_lost_and_all_streams_end(stage: Stage) -> None:
    workers = [Scripted(ALIVE), Scripted(ALIVE)]
    await stage.enter(*workers)
    with pytest.raises(MemberLostError, match=r"said nothing for 0\.2 s") as raised:
        await stage.play(Source(2), silence_s=0.2)
    assert raised.value.cause is Cause.SILENT
    async with asyncio.timeout(30):
        for worker in workers:
            await worker.gone.wait()


async def test_the_worker_that_went_away_is_blamed_and_not_those_that_missed_it(
    stage: Stage,
) -> None:
    lost = Scripted(ALIVE)
    await stage.enter(Scripted(ALIVE, AGAIN), lost)

    async def die() -> None:
        while not lost.started:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.002)
        await stage.servers[1].die()

    dying = asyncio.create_task(die())
    with pytest.raises(MemberLostError, match="worker-2 was lost") as raised:
        await stage.play(Source(2))
    await dying
    assert raised.value.cause is Cause.UNREACHABLE


async def test_what_the_training_fails_with_is_no_lost_member(stage: Stage) -> None:
    diverged = InvalidRequestError("the loss is nan", reason="TRAINING_DIVERGED")
    failed = Event(failed=training_pb2.Failed(error=to_status(diverged)))
    await stage.enter(Scripted(AGAIN), Scripted(failed))
    with pytest.raises(InvalidRequestError, match="the loss is nan") as raised:
        await stage.play(Source(2))
    assert raised.value.reason == "TRAINING_DIVERGED"


async def test_busy_and_dead_workers_are_passed_over(stage: Stage) -> None:
    busy = Scripted(refuses=UnavailableError("busy", reason="WORKER_BUSY"))
    await stage.enter(busy, Scripted(), Scripted(FINISHED))
    await stage.servers[1].die()
    source = Source(1)
    assert (await stage.play(source))[1] == ["worker-3"]
    assert source.discarded == ["worker-2"]


async def test_fewer_than_wanted_are_better_than_none(stage: Stage) -> None:
    await stage.enter(Scripted(FINISHED))
    assert (await stage.play(Source(2, patience_s=0.3)))[1] == ["worker-1"]


async def test_none_is_told(stage: Stage) -> None:
    with pytest.raises(UnavailableError, match="facet train-worker") as raised:
        await stage.play(Source(2, patience_s=0.1))
    assert raised.value.reason == "NO_TRAINING_WORKER"


async def test_one_that_comes_later_is_taken(stage: Stage) -> None:
    await stage.enter(Scripted(FINISHED))
    playing = asyncio.create_task(stage.play(Source(2)))
    await stage.enter(Scripted(FINISHED))
    assert (await playing)[1] == ["worker-1", "worker-2"]
