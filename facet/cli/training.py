"""`facet train`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape

from facet.cli import training_options as options
from facet.cli.gateway_options import calls_gateway
from facet.cli.models import open_repository
from facet.cli.options import ANY_GATEWAY, DEFAULT_HOME, Home, Models, Registry
from facet.cli.output import notices
from facet.cli.training_progress import shown_training
from facet.cli.training_workers import parse_workers
from facet.cli.versions_served import tell_when_served
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.repository import ModelRepository

if TYPE_CHECKING:
    from services.training.data.dataset import Dataset
    from services.training.training import Training

SKIPPED_SHOWN = 5


@calls_gateway
def train(
    data: options.Data = "digits",
    model: options.Model = None,
    name: options.Name = "",
    config: options.Config = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    learning_rate: options.LearningRate = None,
    seed: options.Seed = None,
    shift: options.Shift = None,
    rotation: options.Rotation = None,
    zoom: options.Zoom = None,
    flip: options.Flip = None,
    contrast: options.Contrast = None,
    image_size: options.ImageSize = None,
    channels: options.Channels = None,
    data_folder: options.DataFolder = None,
    workers: options.Workers = "1",
    resume: options.Resume = False,
    checkpoint_s: options.CheckpointEvery = 30.0,
    log_dir: options.LogDir = None,
    metrics_file: options.MetricsFile = None,
    publish: options.Publish = True,
    promote: options.Promote = None,
    gateway: options.WaitFor = ANY_GATEWAY,
    wait: options.Wait = 60.0,
    registry: Registry = "",
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Train a model, measure it on held-out pictures, and publish it as a new version."""
    os.environ.update(QUIET_ENVIRONMENT)
    from services.training.choices import Choices, read_config
    from services.training.data.loading import load_dataset
    from services.training.distributed.coordinator import Cadence
    from services.training.metrics import metrics_file as writing_metrics
    from services.training.running import RunOptions
    from services.training.training import training_run

    if promote and not publish:
        raise typer.BadParameter("--promote cannot go with --no-publish")
    name = check_name(name or _name_of(data))
    repository = open_repository(home, models)
    flags = Choices.given(
        architecture=model,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
        shift=shift,
        rotation=rotation,
        zoom=zoom,
        flip=flip,
        contrast=contrast,
        image_size=image_size,
        channels=channels,
        data_folder=data_folder,
    )
    chosen = flags.over(read_config(config)) if config else flags
    settings, console = chosen.settings_for(data), notices()
    run = RunOptions(
        workers=parse_workers(workers, home, registry),
        resume=resume,
        cadence=Cadence(checkpoint_s=checkpoint_s),
        logs=lambda job: _logs(log_dir or home.expanduser() / "logs" / "training" / job, console),
    )
    with console.status(f"Reading {escape(data)}"):
        dataset = load_dataset(data, chosen.data_options())
    _tell_skipped(dataset, console)
    with (
        shown_training(console) as shown,
        writing_metrics(metrics_file, shown) as progress,
        training_run(repository, name, dataset, settings, progress, run) as training,
    ):
        manifest = training.publish(repository, name, progress) if publish else None
    if manifest is None:
        console.print(f"Measured, not published: {_result(training)}")
        return
    console.print(f"Published [bold]{name}:{manifest.version}[/], {_result(training)}")
    if _tell_promotion(repository, manifest, promote, console):
        tell_when_served(ModelKey(name, manifest.version), gateway, wait, console)


def _name_of(data: str) -> str:
    return Path(data).resolve().name if Path(data).is_dir() else data


def _logs(folder: Path, console: Console) -> Path:
    console.print(f"Logs for TensorBoard: {escape(str(folder.resolve()))}", soft_wrap=True)
    return folder.resolve()


def _tell_skipped(dataset: "Dataset", console: Console) -> None:
    skipped = dataset.skipped
    for each in skipped[:SKIPPED_SHOWN]:
        console.print(f"[yellow]Skipped[/] {escape(each.file)}: {escape(each.reason)}")
    if len(skipped) > SKIPPED_SHOWN:
        console.print(
            f"[yellow]Skipped[/] {len(skipped) - SKIPPED_SHOWN} more; the version names them all "
            "in metrics.json"
        )


def _result(training: "Training") -> str:
    held_out = training.held_out
    return f"{held_out.accuracy:.2%} right on {held_out.images} held-out pictures"


def _tell_promotion(
    repository: ModelRepository, manifest: Manifest, wanted: bool | None, console: Console
) -> bool:
    from services.training.publishing import release

    promotion = release(repository, manifest, wanted)
    what = "Promoted" if promotion.promoted else "Not promoted"
    console.print(f"{what}: {escape(promotion.why)}")
    return promotion.promoted
