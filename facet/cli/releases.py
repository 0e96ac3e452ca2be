"""`facet models promote`, `label`, `unlabel`, `retire`, `rollback`: which versions are served.

Each changes the record of a model's releases and says from what to what. A running cluster follows
some seconds later.
"""

from collections.abc import Callable
from typing import Annotated

import typer

from facet.cli.model_names import parse_model, parse_version
from facet.cli.models import open_repository
from facet.cli.options import DEFAULT_HOME, Home, Models
from facet.cli.output import notices
from services.common.errors import ModelNotFoundError
from services.common.models.assembly import check_not_needed
from services.common.models.key import ModelKey
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository

Version = Annotated[str, typer.Argument(metavar="NAME:VERSION")]


def promote(model: Version, models: Models = "", home: Home = DEFAULT_HOME) -> None:
    """Let a version answer to the bare name of its model; its files are checked first."""
    name, version = parse_version(model)
    repository = open_repository(home, models)

    def change(releases: Releases) -> Releases:
        _check_whole(repository, name, version)
        return releases.promote(version)

    before, after = _change(repository, name, change)
    _say_moved(name, name, before.promoted, after.promoted)


def label(
    model: Version,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="Such as canary.")],
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Let a version answer to NAME@LABEL; its files are checked first.

    The label is taken from the version that had it.
    """
    name, version = parse_version(model)
    repository = open_repository(home, models)

    def change(releases: Releases) -> Releases:
        _check_whole(repository, name, version)
        return releases.label(label, version)

    before, after = _change(repository, name, change)
    _say_moved(name, f"{name}@{label}", before.labels.get(label), after.labels.get(label))


def unlabel(
    model: Annotated[str, typer.Argument(metavar="NAME@LABEL")],
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Take a label away."""
    parsed = parse_model(model)
    name, given = parsed.name, parsed.label
    if given is None:
        raise typer.BadParameter("say which label: NAME@LABEL")
    repository = open_repository(home, models)
    before, after = _change(repository, name, lambda releases: releases.unlabel(given))
    _say_moved(name, f"{name}@{given}", before.labels.get(given), after.labels.get(given))


def retire(
    model: Version,
    undo: Annotated[bool, typer.Option("--undo", help="Serve it again.")] = False,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Serve a version no more, unless it is promoted, labelled or part of an ensemble.

    Its files stay.
    """
    name, version = parse_version(model)
    repository = open_repository(home, models)
    if version not in repository.versions(name):
        raise ModelNotFoundError(
            f"there is no version {version} of model {name!r} in {repository.url}"
        )

    if not undo:
        check_not_needed(repository, ModelKey(name, version))

    def change(releases: Releases) -> Releases:
        return releases.unretire(version) if undo else releases.retire(version)

    before, after = _change(repository, name, change)
    states = ["retired" if version in each.retired else "served" for each in (before, after)]
    if before == after:
        notices().print(f"{name}:{version} is {states[1]} already")
    else:
        notices().print(f"{name}:{version}: {states[0]} → {states[1]}")


def rollback(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Promote the version that was promoted before; doing it twice goes back twice."""
    if parse_model(name).name != name:
        raise typer.BadParameter("say which model, and no version: NAME")
    repository = open_repository(home, models)

    def change(releases: Releases) -> Releases:
        after = releases.rollback()
        if after.promoted is not None:
            _check_whole(repository, name, after.promoted)
        return after

    before, after = _change(repository, name, change)
    _say_moved(name, name, before.promoted, after.promoted)


def _check_whole(repository: ModelRepository, name: str, version: int) -> None:
    with notices().status(f"Checking the files of {name}:{version}"):
        repository.verify(repository.load_manifest(name, version))


def _change(
    repository: ModelRepository, name: str, change: Callable[[Releases], Releases]
) -> tuple[Releases, Releases]:
    """Apply a change and return what was decided before it and after."""
    before = Releases()

    def remember(releases: Releases) -> Releases:
        nonlocal before
        before = releases
        return change(releases)

    after = repository.change_releases(name, remember)
    return before, after


def _say_moved(name: str, called: str, before: int | None, after: int | None) -> None:
    """Say which version answered to a name and which one does now."""
    old, new = (f"{name}:{each}" if each else "nothing" for each in (before, after))
    if before == after:
        notices().print(f"{called} is {new} already")
    else:
        notices().print(f"{called}: {old} → [bold]{new}[/]")
