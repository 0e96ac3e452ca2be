"""`facet train`."""

import os
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from facet.cli.models import open_repository
from facet.cli.options import DEFAULT_HOME, Home, Models
from facet.cli.output import notices
from services.common.models.native_logs import QUIET_ENVIRONMENT


def train(
    data: Annotated[str, typer.Argument(help="What to train on: digits.")] = "digits",
    model: Annotated[str, typer.Option(help="The network: cnn.")] = "cnn",
    name: Annotated[
        str, typer.Option(help="Name to publish under; default: that of the data.")
    ] = "",
    epochs: Annotated[int, typer.Option(min=1, help="Times that every picture is seen.")] = 12,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 2e-3,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Train a model, measure it on held-out pictures, and publish it as a new version."""
    os.environ.update(QUIET_ENVIRONMENT)
    from services.training.datasets import load_dataset
    from services.training.settings import TrainingSettings
    from services.training.training import train_and_publish

    settings = TrainingSettings(
        architecture=model,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    console = notices()
    with TrainingBar(console) as progress:
        manifest = train_and_publish(
            open_repository(home, models), name or data, load_dataset(data), settings, progress
        )
    accuracy = manifest.metrics["held_out_accuracy"]
    console.print(
        f"Published [bold]{manifest.name}:{manifest.version}[/], "
        f"{accuracy:.1%} right on {manifest.metrics['held_out_images']} held-out pictures"
    )


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
