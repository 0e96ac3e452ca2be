"""Trains a model and publishes it as a version."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import quiet_stderr
from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from services.training.jobs.job import open_job
from services.training.jobs.record import JobRecord
from services.training.progress import SilentProgress, TrainingProgress
from services.training.publishing import HELD_OUT_ACCURACY, HELD_OUT_DIGEST
from services.training.reports.files import Reports
from services.training.reports.measures import Measures
from services.training.running import RunOptions, run_job
from services.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class Training:
    """A training that is over: the network, and what it was measured to be."""

    dataset: Dataset
    settings: TrainingSettings
    trained: Any
    """services.training.trainer.Trained; that module imports TensorFlow."""
    held_out: Measures
    seconds: float

    def publish(
        self, repository: ModelRepository, name: str, progress: TrainingProgress
    ) -> Manifest:
        """Write the next version of a model, with golden examples that are held-out pictures.

        Raises UnavailableError when the repository cannot be written; then nothing is published.
        """
        from services.training import fusion, packaging
        from services.training.networks.serving import without_workers

        dataset, settings, trained = self.dataset, self.settings, self.trained
        spec = InputSpec(*dataset.shape, dataset.resize_shorter_side)
        reports = Reports(trained.history, self.held_out, dataset.skipped)
        package = packaging.Package(
            fused=fusion.fused_keras(
                without_workers(trained.model), spec.shape, trained.normalisation
            ),
            input=spec,
            normalisation=trained.normalisation,
            labels=dataset.labels,
            source=f"{settings.architecture} trained on {dataset.name}",
            real_images=dataset.test_images[: packaging.GOLDEN_EXAMPLES],
            training={
                "dataset": dataset.name,
                HELD_OUT_DIGEST: dataset.held_out_digest(),
                "optimizer": "adam",
                **settings.to_record(),
            },
            metrics=self.metrics(),
            write_reports=reports.write,
        )
        manifest = repository.publish(name, lambda folder: package.write(folder, progress.stage))
        progress.stage(f"published {name}:{manifest.version}")
        return manifest

    def metrics(self) -> dict[str, int | float]:
        """Return the figures that the manifest records."""
        measured = {HELD_OUT_ACCURACY: self.held_out.accuracy, "held_out_loss": self.held_out.loss}
        if self.held_out.top_5_accuracy is not None:
            measured["held_out_top_5_accuracy"] = self.held_out.top_5_accuracy
        return {
            **{key: round(value, 6) for key, value in measured.items()},
            "held_out_images": self.held_out.images,
            "training_images": len(self.dataset.train_labels),
            "skipped_files": len(self.dataset.skipped),
            "training_seconds": round(self.seconds, 3),
        }


@contextmanager
def training_run(
    repository: ModelRepository,
    name: str,
    dataset: Dataset,
    settings: TrainingSettings,
    progress: TrainingProgress | None = None,
    options: RunOptions | None = None,
) -> Iterator[Training]:
    """Train a network on a data set, measure it on the held-out part, and yield what it is.

    `progress` hears how it goes, and `options` say where it runs. What is learned is kept beside
    the model until the block has ended without an error. Raises InvalidRequestError for a network
    that cannot be built, and with TRAINING_DIVERGED when the loss is no longer a number,
    TRAINING_RUNNING when the model is being trained already, NOTHING_TO_RESUME and
    TRAINING_CHANGED; UnavailableError when the repository cannot be written, or when all workers
    are lost.
    """
    check_name(name)
    progress, options = progress or SilentProgress(), options or RunOptions()
    progress.stage("loading TensorFlow")
    with quiet_stderr():  # what it says when it is loaded is for nobody
        import_module("services.training.trainer")
    asked = JobRecord.of(dataset, settings, options.wanted)
    with open_job(repository.url, name, dataset, asked, resume=options.resume) as job:
        progress.stage(f"training {settings.architecture} on {dataset.name}")
        started = time.monotonic()
        trained, held_out = run_job(job, dataset, options, progress)
        yield Training(dataset, settings, trained, held_out, time.monotonic() - started)


def train_and_publish(
    repository: ModelRepository,
    name: str,
    dataset: Dataset,
    settings: TrainingSettings,
    progress: TrainingProgress | None = None,
    options: RunOptions | None = None,
) -> Manifest:
    """Train, measure and publish; raises what these raise, and then nothing is published."""
    progress = progress or SilentProgress()
    with training_run(repository, name, dataset, settings, progress, options) as training:
        return training.publish(repository, name, progress)
