"""`facet train`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from facet.cli.models import open_repository
from facet.cli.options import DEFAULT_HOME, Home, Models, Registry
from facet.cli.output import notices
from facet.cli.training_progress import shown_training
from facet.cli.training_workers import parse_workers
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
    workers: Annotated[
        str,
        typer.Option(
            metavar="N | registry:N",
            help="Processes that learn together, each --batch-size pictures a step: N on this "
            "machine, or N of the `facet train-worker`s in the registry.",
        ),
    ] = "1",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the unfinished training of that name.")
    ] = False,
    checkpoint_s: Annotated[
        float, typer.Option("--checkpoint-every", min=0.1, help="Seconds; also after each epoch.")
    ] = 30.0,
    log_dir: Annotated[
        Path | None,
        typer.Option(help="For TensorBoard; default: `logs/training/JOB` in --home."),
    ] = None,
    registry: Registry = "",
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Train a model, measure it on held-out pictures, and publish it as a new version."""
    os.environ.update(QUIET_ENVIRONMENT)
    from services.training.datasets import load_dataset
    from services.training.distributed.coordinator import Cadence
    from services.training.running import RunOptions
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

    def logs(job: str) -> Path:
        folder = log_dir or home.expanduser().resolve() / "logs" / "training" / job
        console.print(f"Logs for TensorBoard: {escape(str(folder))}", soft_wrap=True)
        return folder

    options = RunOptions(
        workers=parse_workers(workers, home, registry),
        resume=resume,
        cadence=Cadence(checkpoint_s=checkpoint_s),
        logs=logs,
    )
    with shown_training(console) as progress:
        manifest = train_and_publish(
            open_repository(home, models),
            name or data,
            load_dataset(data),
            settings,
            progress,
            options,
        )
    accuracy = manifest.metrics["held_out_accuracy"]
    console.print(
        f"Published [bold]{manifest.name}:{manifest.version}[/], "
        f"{accuracy:.1%} right on {manifest.metrics['held_out_images']} held-out pictures"
    )
