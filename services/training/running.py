"""How a training is run, which changes nothing of what is learned; and running it."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from services.common.errors import FacetError
from services.training.data.dataset import Dataset
from services.training.distributed.coordinator import Cadence, Coordinator
from services.training.distributed.sources import WorkerSource
from services.training.jobs.checkpoints import Checkpoint
from services.training.jobs.job import Job
from services.training.progress import TrainingProgress
from services.training.reports.measures import Measures

if TYPE_CHECKING:
    from services.training.trainer import Trained


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Where and how a training runs."""

    workers: WorkerSource | None = None
    """None: in this process alone."""
    resume: bool = False
    """Go on with the unfinished training of that name."""
    cadence: Cadence = field(default_factory=Cadence)
    logs: Callable[[str], Path] | None = None
    """Name of the job → folder for TensorBoard and the workers' logs; None: neither is kept."""

    @property
    def wanted(self) -> int:
        """How many workers share a batch."""
        return 1 if self.workers is None else self.workers.wanted


def run_job(
    job: Job, dataset: Dataset, options: RunOptions, progress: TrainingProgress
) -> tuple["Trained", Measures]:
    """Run a job to its end; return the network, and what it is on the held-out pictures.

    Raises InvalidRequestError (TRAINING_DIVERGED), UnavailableError when the repository or all
    workers are gone; the job can be resumed then.
    """
    try:
        return _run(job, dataset, options, progress)
    except BaseException:  # Ctrl-C as well
        with suppress(FacetError):
            if job.checkpoints.names():
                progress.notice(f"it can be resumed: the last checkpoint is kept in {job.url}")
        raise


def _run(
    job: Job, dataset: Dataset, options: RunOptions, progress: TrainingProgress
) -> tuple["Trained", Measures]:
    # Only here: it imports TensorFlow, and the options are needed before that.
    from services.training import evaluation, tensorboard

    folder = options.logs and options.logs(job.name)
    with tensorboard.writing(folder, progress) as told:
        if options.workers is not None:
            with _kept(folder) as logs:
                trained = _on_workers(job, dataset, options.workers, options.cadence, told, logs)
        else:
            trained = _alone(job, dataset, options.cadence, told)
        scores = evaluation.scores_of(trained.model, trained.normalisation, dataset.test_images)
        held_out = Measures.of(scores, dataset.test_labels, dataset.labels)
        told.evaluated(len(trained.history), held_out.loss, held_out.accuracy)
    return trained, held_out


def _alone(job: Job, dataset: Dataset, cadence: Cadence, progress: TrainingProgress) -> "Trained":
    from services.training import trainer

    return trainer.train(
        dataset,
        job.record().training_settings,
        progress,
        checkpoints=job.checkpoints,
        every_steps=cadence.checkpoint_steps,
        every_s=cadence.checkpoint_s,
    )


@contextmanager
def _kept(folder: Path | None) -> Iterator[Path]:
    """Yield where workers log: a part of the folder, or one that goes with the block."""
    if folder is not None:
        yield folder / "workers"
        return
    with tempfile.TemporaryDirectory(prefix="facet-training-") as scratch:
        yield Path(scratch)


def _on_workers(
    job: Job,
    dataset: Dataset,
    source: WorkerSource,
    cadence: Cadence,
    progress: TrainingProgress,
    logs: Path,
) -> "Trained":
    from services.training import trainer

    yardstick = trainer.Yardstick(job.record(), dataset)
    coordinator = Coordinator(job, source, yardstick.measure, progress, cadence)
    asyncio.run(coordinator.run(logs))
    newest = job.checkpoints.newest()
    # A coordinator that returns has seen the last epoch's checkpoint.
    assert isinstance(newest, Checkpoint)
    return yardstick.trained(newest)
