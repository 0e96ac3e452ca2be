"""How a model is named on the command line: NAME, NAME:VERSION or NAME@LABEL."""

from dataclasses import dataclass

import typer


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
