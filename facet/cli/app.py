"""The `facet` command: all subcommands, and how errors end it."""

import sys
from typing import Final

import typer

from facet.cli import (
    classify,
    cluster,
    ensembles,
    keys,
    models,
    releases,
    serving,
    training,
    training_workers,
)
from facet.cli.output import errors_to
from services.common.errors import FacetError

EXIT_FAILED: Final = 1
EXIT_UNREACHABLE: Final = 3

app = typer.Typer(
    name="facet",
    help="Image recognition as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(serving.up)
app.command("serve")(serving.serve)
app.command("wait")(cluster.wait)
app.command("status")(cluster.status)
app.command("classify")(classify.classify)
app.command("train")(training.train)
app.command("train-worker")(training_workers.train_worker)
models.app.command("ensemble")(ensembles.ensemble)
for change in (
    releases.promote,
    releases.label,
    releases.unlabel,
    releases.retire,
    releases.rollback,
):
    models.app.command()(change)
app.add_typer(models.app, name="models")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Run the command; an error is one sentence and an exit code, never a traceback."""
    try:
        app()
    except FacetError as error:
        errors_to(error.message)
        sys.exit(EXIT_UNREACHABLE if error.reason == "UNREACHABLE" else EXIT_FAILED)


if __name__ == "__main__":
    main()
