"""`facet models`: the model repository."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from facet.cli.gateway_options import calls_gateway
from facet.cli.model_names import chosen_version, parse_model, parse_version
from facet.cli.options import ANY_GATEWAY, DEFAULT_HOME, Home, Json, Models
from facet.cli.output import answers, notices, write_json
from facet.cli.versions_served import refused_by
from facet.client.connection import Gateway
from services.common.models.assembly import check_not_needed
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.normalisation import Normalisation
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository
from services.common.settings import CommonSettings, read_settings

app = typer.Typer(help="The model repository.", no_args_is_help=True, rich_markup_mode=None)

LABELS_SHOWN = 5


def open_repository(home: Path, models: str) -> ModelRepository:
    """Return the repository that the options name."""
    settings = read_settings(CommonSettings, home=home, models=models)
    return ModelRepository.open(settings.models_url, settings.file_cache())


@app.command("list")
def list_models(as_json: Json = False, models: Models = "", home: Home = DEFAULT_HOME) -> None:
    """List all models and versions."""
    repository = open_repository(home, models)
    names = repository.list_models()
    releases = {name: repository.releases(name) for name in names}
    manifests = [
        repository.load_manifest(name, version)
        for name in names
        for version in repository.versions(name)
    ]
    if as_json:
        described = [
            _summary(manifest) | {"release": _release(manifest, releases[manifest.name])}
            for manifest in manifests
        ]
        write_json(described, indent=2)
        return
    if not manifests:
        notices().print(f"There is no model in {repository.url}.")
    table = Table(
        *("model", "version", "release", "input", "classes", "engines", "created", "source"),
        box=None,
    )
    for manifest in manifests:
        table.add_row(
            manifest.name,
            str(manifest.version),
            _state(_release(manifest, releases[manifest.name])),
            " x ".join(map(str, manifest.input.shape)),
            str(manifest.outputs.classes),
            " ".join(artefact.format for artefact in manifest.artefacts) or "ensemble",
            f"{manifest.created:%Y-%m-%d %H:%M}",
            manifest.source,
        )
    if manifests:
        answers().print(table)


@app.command("show")
@calls_gateway
def show(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME[:VERSION|@LABEL]", help="By default the promoted one, else the newest."
        ),
    ],
    as_json: Json = False,
    gateway: Annotated[
        Gateway,
        typer.Option(
            envvar="FACET_GATEWAY",
            help="HOST:PORT of the gateway of a cluster that may have refused it.",
            show_default="the usual one, if it answers",
        ),
    ] = ANY_GATEWAY,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Show all that is known of one version, and why a running cluster refuses it, if it does."""
    repository = open_repository(home, models)
    chosen = parse_model(model)
    releases = repository.releases(chosen.name)
    manifest = repository.load_manifest(chosen.name, chosen_version(repository, releases, chosen))
    release = _release(manifest, releases)
    described = manifest.model_dump(mode="json") | {"release": release}
    if refused := refused_by(manifest.key, gateway):
        described["refused"] = refused
    if as_json:
        write_json(described, indent=2)
        return
    if manifest.ensemble is not None:
        described["ensemble"] = str(manifest.ensemble)
        del described["artefacts"], described["golden"]
    labels = described.pop("labels")
    shown = ", ".join(labels[:LABELS_SHOWN]) + (", ..." if len(labels) > LABELS_SHOWN else "")
    table = Table(show_header=False, box=None)
    described |= {"labels": f"{len(labels)}: {shown}", "release": _state(release)}
    for field, value in described.items():
        table.add_row(field, _text(value))
    answers().print(table)


@app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="Name of the model; a new one or not.")],
    file: Annotated[
        Path, typer.Argument(help="A .keras file, a SavedModel's folder, or a .tflite.")
    ],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with a `label` column, or a line a class; default: those in the file.",
            dir_okay=False,
        ),
    ] = None,
    preprocessing: Annotated[
        str | None,
        typer.Option(
            help="tf, torch, caffe or none: the modes of Keras's preprocess_input; "
            "default: worked out where the model shows it."
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(help="Instead of a mode: (x - MEAN) * SCALE, such as 123,117,104.")
    ] = None,
    scale: Annotated[float | None, typer.Option(help="See --mean.")] = None,
    resize: Annotated[
        int, typer.Option(min=0, help="Pixels of the shorter side; 0 stretches the picture.")
    ] = 0,
    crop: Annotated[
        int, typer.Option(min=0, help="Pixels of the centre crop; the input's side if given.")
    ] = 0,
    signature: Annotated[
        str | None, typer.Option(help="Of a SavedModel; default: serving_default or the only one.")
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="The output with the scores, where there are several.")
    ] = None,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Add a stock model as a new version; a running cluster serves it some seconds later."""
    os.environ.update(QUIET_ENVIRONMENT)
    from services.training.adding import Choices, add_model
    from services.training.labels import read_labels

    console = notices()
    choices = Choices(
        labels=None if labels is None else read_labels(labels),
        normalisation=Normalisation.from_options(preprocessing, mean, scale),
        resize=resize,
        crop=crop,
        signature=signature,
        output=output,
    )
    with console.status("Starting") as status:
        manifest = add_model(
            open_repository(home, models),
            name,
            file,
            choices,
            tell=lambda line: status.update(_sentence(line)),
            notice=lambda line: console.print(_sentence(line), highlight=False, markup=False),
        )
    console.print(
        f"Added [bold]{manifest.name}:{manifest.version}[/] "
        f"({', '.join(artefact.format for artefact in manifest.artefacts)})"
    )


@app.command("remove")
def remove(
    model: Annotated[str, typer.Argument(metavar="NAME:VERSION")],
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Remove one version for good, unless it is promoted, labelled or part of an ensemble.

    Shards stop serving it some seconds later.
    """
    name, version = parse_version(model)
    key, repository = ModelKey(name, version), open_repository(home, models)
    check_not_needed(repository, key)
    repository.remove(name, version)
    notices().print(f"Removed {key}")


def _release(manifest: Manifest, releases: Releases) -> dict[str, Any]:
    """Return what was decided about a version."""
    version = manifest.version
    return {
        "promoted": version == releases.promoted,
        "labels": sorted(
            label for label, labelled in releases.labels.items() if labelled == version
        ),
        "retired": version in releases.retired,
    }


def _state(release: dict[str, Any]) -> str:
    words = [word for word in ("promoted", "retired") if release[word]]
    return " ".join(words + [f"@{label}" for label in release["labels"]])


def _sentence(line: str) -> str:
    return line[:1].upper() + line[1:]


def _summary(manifest: Manifest) -> dict[str, Any]:
    return manifest.model_dump(
        mode="json",
        include={
            *("name", "version", "created", "input", "outputs"),
            *("ensemble", "source", "metrics", "digest"),
        },
    )


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, list):
        return "\n".join(_text(item) for item in value)
    return str(value)
