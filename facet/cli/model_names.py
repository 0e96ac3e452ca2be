"""How a model is named on the command line: NAME, NAME:VERSION or NAME@LABEL."""

from dataclasses import dataclass

import typer

from services.common.errors import ModelNotFoundError
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository


@dataclass(frozen=True, slots=True)
class ModelName:
    """What a person typed; at most one of version and label is given."""

    name: str
    version: int | None = None
    label: str | None = None


def parse_model(text: str) -> ModelName:
    """Return what NAME, NAME:VERSION or NAME@LABEL says; typer.BadParameter for anything else."""
    name, colon, version = text.partition(":")
    if colon:
        if name and "@" not in name and version.isascii() and version.isdigit() and int(version):
            return ModelName(name, version=int(version))
    else:
        name, at, label = text.partition("@")
        if name and (label or not at) and "@" not in label:
            return ModelName(name, label=label or None)
    raise typer.BadParameter(f"{text!r} is not NAME, NAME:VERSION or NAME@LABEL")


def parse_version(text: str) -> tuple[str, int]:
    """Return name and version of NAME:VERSION; typer.BadParameter for anything else."""
    model = parse_model(text)
    if model.version is None:
        raise typer.BadParameter("say which version: NAME:VERSION")
    return model.name, model.version


def chosen_version(repository: ModelRepository, releases: Releases, chosen: ModelName) -> int:
    """Return which version is meant; ModelNotFoundError when there is none of that label."""
    if chosen.label is not None:
        if chosen.label not in releases.labels:
            raise ModelNotFoundError(
                f"no version of model {chosen.name!r} is labelled {chosen.label!r}"
            )
        return releases.labels[chosen.label]
    current = releases.current(repository.versions(chosen.name))
    return chosen.version or current or repository.latest(chosen.name)
