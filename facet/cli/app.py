"""The `facet` command: all subcommands."""

import typer

from facet.cli import (
    certs,
    classify,
    cluster,
    ensembles,
    health,
    keys,
    metrics,
    models,
    releases,
    serve,
    serving,
    settings,
    top,
    training,
    training_workers,
)
from facet.cli.ending import run

app = typer.Typer(
    name="facet",
    help="Image recognition as a service.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(serving.up)
app.command("serve")(serve.serve)
app.command("health")(health.health)
app.command("wait")(cluster.wait)
app.command("status")(cluster.status)
app.command("top")(top.top)
app.command("settings")(settings.settings)
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
app.add_typer(certs.app, name="certs")
app.add_typer(metrics.app, name="metrics")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Run the command."""
    run(app)


if __name__ == "__main__":
    main()
