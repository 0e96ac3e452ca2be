"""Trains a model and publishes it as a version."""

import time
from typing import TYPE_CHECKING

from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import quiet_stderr
from services.common.models.repository import ModelRepository
from services.training.datasets import Dataset
from services.training.jobs.job import open_job
from services.training.jobs.record import JobRecord
from services.training.progress import SilentProgress, TrainingProgress
from services.training.running import RunOptions, run_job
from services.training.settings import TrainingSettings

if TYPE_CHECKING:
    from services.training.packaging import Package
    from services.training.trainer import Trained


def train_and_publish(
    repository: ModelRepository,
    name: str,
    dataset: Dataset,
    settings: TrainingSettings,
    progress: TrainingProgress | None = None,
    options: RunOptions | None = None,
) -> Manifest:
    """Train a network on a data set, measure it on the held-out part, and publish it.

    Its golden examples are held-out pictures. `progress` hears how it goes, and `options` say
    where it runs. Raises InvalidRequestError for an unknown architecture, and with
    TRAINING_DIVERGED when the loss is no longer a number, TRAINING_RUNNING when the model is being
    trained already, NOTHING_TO_RESUME and TRAINING_CHANGED; UnavailableError when the repository
    cannot be written, or when all workers are lost. Then nothing is published, and what was
    learned is kept beside the model for `RunOptions.resume`.
    """
    check_name(name)
    progress, options = progress or SilentProgress(), options or RunOptions()
    progress.stage("loading TensorFlow")
    with quiet_stderr():
        from services.training import packaging, trainer  # noqa: F401

    asked = JobRecord.of(dataset, settings, options.wanted)
    with open_job(str(repository.root), name, dataset, asked, resume=options.resume) as job:
        progress.stage(f"training {settings.architecture} on {dataset.name}")
        started = time.monotonic()
        trained = run_job(job, dataset, options, progress)
        seconds = time.monotonic() - started
        package = _package(dataset, settings, trained, seconds)
        manifest = repository.publish(name, lambda folder: package.write(folder, progress.stage))
    progress.stage(f"published {name}:{manifest.version}")
    return manifest


def _package(
    dataset: Dataset, settings: TrainingSettings, trained: "Trained", seconds: float
) -> "Package":
    from services.training import packaging

    metrics = {
        "held_out_accuracy": round(trained.accuracy, 6),
        "held_out_loss": round(trained.loss, 6),
        "held_out_images": len(dataset.test_labels),
        "training_images": len(dataset.train_labels),
        "training_seconds": round(seconds, 3),
    }
    height, width, channels = dataset.train_images.shape[1:]
    return packaging.Package(
        model=trained.model,
        input=InputSpec(height, width, channels),
        normalisation=trained.normalisation,
        labels=dataset.labels,
        source=f"{settings.architecture} trained on {dataset.name}",
        real_images=dataset.test_images[: packaging.GOLDEN_EXAMPLES],
        training={"dataset": dataset.name, "optimizer": "adam", **settings.to_record()},
        metrics=metrics,
    )
