"""Sees a training through to its end, whatever happens to its workers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facet.training.v1 import training_pb2
from services.common.errors import UnavailableError
from services.common.registry import Registry
from services.training.distributed.attempt import Attempt, Cause, MemberLostError
from services.training.distributed.evaluator import Evaluator, Measure
from services.training.distributed.messages import epoch_record, step_report
from services.training.distributed.seats import Seat, reserved_seats
from services.training.distributed.sources import WorkerSource
from services.training.history import EpochRecord
from services.training.jobs.job import Job
from services.training.progress import TrainingProgress

MAX_RESTARTS: Final = 5
"""In a row, without a checkpoint in between: then trying again is no use."""


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often a training tells and keeps what it does."""

    checkpoint_steps: int = 0
    """A checkpoint within an epoch after so many steps; 0: seconds alone count."""
    checkpoint_s: float = 30.0
    """A checkpoint within an epoch after so many seconds."""
    report_s: float = 0.2
    """A step is told so often."""
    silence_s: float = 10.0
    """A worker that says nothing for so long is given up."""


class Coordinator:
    """One training on many workers."""

    def __init__(
        self,
        job: Job,
        source: WorkerSource,
        measure: Measure,
        progress: TrainingProgress,
        cadence: Cadence,
    ) -> None:
        self._job = job
        self._source = source
        self._progress = progress
        self._cadence = cadence
        self._schedule = job.record().schedule
        self._evaluator = Evaluator(measure, job.checkpoints, progress)
        self._restarts = 0
        self._told: int | None = None
        """The last epoch that was told; None before the first try."""
        self._submitted = 0
        """The last epoch whose checkpoint is measured."""
        self._pruning: set[asyncio.Task[None]] = set()

    async def run(self, logs: Path) -> None:
        """Return when all epochs are learned; the newest checkpoint is the result.

        All but the last are measured then: that is done with the result, by whoever has it.
        Raises UnavailableError (NO_TRAINING_WORKER, TRAINING_WORKERS_LOST) and what the training
        itself fails with.
        """
        try:
            async with self._evaluator:
                async with self._source.open(logs) as registry:
                    while not await self._tried(registry):
                        pass
                self._progress.stage("measuring the last epochs")
                await self._evaluator.finish()
        finally:
            await asyncio.gather(*self._pruning)

    async def _tried(self, registry: Registry) -> bool:
        """Try once; return whether the training has come to its end."""
        try:
            async with reserved_seats(registry, self._source) as seats:
                self._announce(len(seats))
                await self._attempt(seats)
        except MemberLostError as lost:
            await self._lost(lost)
            return False
        return True

    def _announce(self, workers: int) -> None:
        if workers < self._source.wanted:
            self._progress.notice(f"training with {workers} of {self._source.wanted} workers")
        self._progress.stage(f"starting {workers} workers")

    async def _attempt(self, seats: Sequence[Seat]) -> None:
        cadence = self._cadence
        order = training_pb2.Start(
            job_url=self._job.url,
            checkpoint_steps=cadence.checkpoint_steps,
            checkpoint_ms=int(cadence.checkpoint_s * 1000),
            report_ms=int(cadence.report_s * 1000),
            # Named here, so that all begin at one: a member of a former try whose worker cannot
            # be reached may still write.
            checkpoint=await self._catch_up(),
        )
        await Attempt(seats, self._hear, cadence.silence_s).run(order)

    async def _catch_up(self) -> str:
        """Return the checkpoint to go on from, and tell what the former try came to unheard."""
        checkpoints = self._job.checkpoints
        name = await asyncio.to_thread(checkpoints.newest_name)
        newest = await asyncio.to_thread(checkpoints.load, name) if name else None
        history = newest.position.history if newest else ()
        if self._told is None:  # what an earlier process did was told by it
            self._told = self._submitted = len(history)
        for record in history:
            self._tell(record)
        for epoch, kept in await asyncio.to_thread(checkpoints.epoch_ends):
            self._measure(epoch, kept)
        return name

    def _tell(self, record: EpochRecord) -> None:
        if record.epoch > (self._told or 0):
            self._told = record.epoch
            self._progress.epoch(record)

    def _measure(self, epoch: int, checkpoint: str) -> None:
        if self._submitted < epoch < self._schedule.epochs:
            self._submitted = epoch
            self._evaluator.submit(epoch, checkpoint)

    async def _lost(self, lost: MemberLostError) -> None:
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise UnavailableError(
                f"training came no further in {MAX_RESTARTS} tries: {lost}",
                reason="TRAINING_WORKERS_LOST",
            ) from lost
        self._progress.worker_lost(f"{lost}; going on from the last checkpoint")
        if lost.cause is Cause.UNREACHABLE:
            await self._source.discard(lost.instance)

    def _hear(self, event: training_pb2.RunMemberResponse) -> None:
        match event.WhichOneof("event"):
            case "stepped":
                self._progress.step(step_report(event.stepped, self._schedule))
            case "epoch_ended":
                self._tell(epoch_record(event.epoch_ended))
            case "checkpoint_written":
                self._written(event.checkpoint_written)

    def _written(self, written: training_pb2.CheckpointWritten) -> None:
        self._restarts = 0
        if written.epoch:
            self._measure(written.epoch, written.name)
        pruning = asyncio.create_task(self._prune())
        self._pruning.add(pruning)
        pruning.add_done_callback(self._pruning.discard)

    async def _prune(self) -> None:
        # What cannot be removed now is removed later: all of it at the end of the training.
        with suppress(UnavailableError):
            await asyncio.to_thread(self._job.checkpoints.prune, self._evaluator.needed)
