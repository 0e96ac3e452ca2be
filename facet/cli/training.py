"""`facet train`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from facet.cli import training_options as options
from facet.cli.models import open_repository
from facet.cli.options import DEFAULT_HOME, Home, Models
from facet.cli.output import notices
from facet.cli.waiting import tell_when_served
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.repository import ModelRepository

if TYPE_CHECKING:
    from services.training.data.dataset import Dataset
    from services.training.training import Training

SKIPPED_SHOWN = 5


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
    publish: options.Publish = True,
    promote: options.Promote = None,
    gateway: options.WaitFor = "",
    wait: options.Wait = 60.0,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Train a model, measure it on held-out pictures, and publish it as a new version."""
    os.environ.update(QUIET_ENVIRONMENT)
    from services.training.choices import Choices, read_config
    from services.training.data.loading import load_dataset
    from services.training.training import train_and_measure

    if promote and not publish:
        raise typer.BadParameter("--promote cannot go with --no-publish")
    name = name or _name_of(data)
    if publish:
        check_name(name)
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
    with console.status(f"Reading {escape(data)}"):
        dataset = load_dataset(data, chosen.data_options())
    _tell_skipped(dataset, console)
    with TrainingBar(console) as progress:
        training = train_and_measure(dataset, settings, progress)
        manifest = training.publish(repository, name, progress) if publish else None
    if manifest is None:
        console.print(f"Measured, not published: {_result(training)}")
        return
    console.print(f"Published [bold]{name}:{manifest.version}[/], {_result(training)}")
    if _tell_promotion(repository, manifest, promote, console):
        tell_when_served(ModelKey(name, manifest.version), gateway, wait, console)


def _name_of(data: str) -> str:
    return Path(data).resolve().name if Path(data).is_dir() else data


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


class TrainingBar(Progress):
    """A progress bar over all steps of a training."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self.add_task("Starting", total=None, figures="")
        self._accuracy = ""

    def stage(self, text: str) -> None:
        """See TrainingProgress."""
        self.update(self._task, description=text.capitalize(), total=None, figures="")

    def step(self, *, epoch: int, epochs: int, step: int, steps: int, loss: float) -> None:
        """See TrainingProgress."""
        self.update(
            self._task,
            total=epochs * steps,
            completed=(epoch - 1) * steps + step,
            figures=f"epoch {epoch}/{epochs}, loss {loss:.3f}{self._accuracy}",
        )

    def epoch(self, *, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
        self._accuracy = f", accuracy {accuracy:.1%}"
