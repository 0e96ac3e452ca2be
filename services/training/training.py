"""Trains a model and publishes it as a version."""

import time

from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import quiet_stderr
from services.common.models.repository import ModelRepository
from services.training.datasets import Dataset
from services.training.progress import SilentProgress, TrainingProgress
from services.training.settings import TrainingSettings


def train_and_publish(
    repository: ModelRepository,
    name: str,
    dataset: Dataset,
    settings: TrainingSettings,
    progress: TrainingProgress | None = None,
) -> Manifest:
    """Train a network on a data set, measure it on the held-out part, and publish it.

    Its golden examples are held-out pictures. `progress` hears how it goes. Raises
    InvalidRequestError for an unknown architecture and (TRAINING_DIVERGED) when the loss is no
    longer a number, and UnavailableError when the repository cannot be written; then nothing is
    published.
    """
    check_name(name)
    progress = progress or SilentProgress()
    progress.stage("loading TensorFlow")
    with quiet_stderr():
        from services.training import fusion, packaging, trainer

    progress.stage(f"training {settings.architecture} on {dataset.name}")
    started = time.monotonic()
    trained = trainer.train(dataset, settings, progress)
    metrics = {
        "held_out_accuracy": round(trained.accuracy, 6),
        "held_out_loss": round(trained.loss, 6),
        "held_out_images": len(dataset.test_labels),
        "training_images": len(dataset.train_labels),
        "training_seconds": round(time.monotonic() - started, 3),
    }
    height, width, channels = dataset.train_images.shape[1:]
    spec = InputSpec(height, width, channels)
    package = packaging.Package(
        fused=fusion.fused_keras(trained.model, spec.shape, trained.normalisation),
        input=spec,
        normalisation=trained.normalisation,
        labels=dataset.labels,
        source=f"{settings.architecture} trained on {dataset.name}",
        real_images=dataset.test_images[: packaging.GOLDEN_EXAMPLES],
        training={"dataset": dataset.name, "optimizer": "adam", **settings.to_record()},
        metrics=metrics,
    )
    manifest = repository.publish(name, lambda folder: package.write(folder, progress.stage))
    progress.stage(f"published {name}:{manifest.version}")
    return manifest
