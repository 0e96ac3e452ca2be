"""`facet models ensemble`."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, cast, get_args

import typer

from facet.cli.model_names import ModelName, chosen_version, parse_model
from facet.cli.models import open_repository
from facet.cli.options import DEFAULT_HOME, Home, Models
from facet.cli.output import notices
from services.common.errors import InvalidRequestError
from services.common.models.assembly import publish_ensemble
from services.common.models.ensemble import Rule
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository

RuleName = StrEnum("RuleName", get_args(Rule))  # type: ignore[misc]  # the names are the rules'


def ensemble(
    name: Annotated[str, typer.Argument(help="Name of the ensemble; a new one or not.")],
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="MEMBER[=WEIGHT]...",
            help="NAME (the promoted version, else the newest), NAME:VERSION or NAME@LABEL.",
        ),
    ],
    rule: Annotated[
        RuleName | None,
        typer.Option(
            help="mean or weighted mean of the scores, or vote for the best class; by default "
            "weighted where there are weights, else mean."
        ),
    ] = None,
    models: Models = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Make a version of members that answer together, at the same time on different shards."""
    repository = open_repository(home, models)
    weights = read_members(repository, members)
    weighted = any(weight is not None for weight in weights.values())
    made = publish_ensemble(
        repository,
        name,
        {key: 1.0 if weight is None else weight for key, weight in weights.items()},
        cast(Rule, rule.value if rule is not None else "weighted" if weighted else "mean"),
    )
    notices().print(f"Published [bold]{made.key}[/], {made.ensemble}")


def read_members(
    repository: ModelRepository, members: Iterable[str]
) -> dict[ModelKey, float | None]:
    """Return the exact versions that NAME[:VERSION|@LABEL][=WEIGHT] stand for, with their weights.

    Raises typer.BadParameter for another text, ModelNotFoundError for an unknown name, and
    InvalidRequestError when two stand for the same version.
    """
    found: dict[ModelKey, float | None] = {}
    for text in members:
        given, equals, weight = text.partition("=")
        key = _member(repository, parse_model(given))
        if key in found:
            raise InvalidRequestError(f"the member {key} is named twice")
        found[key] = _weight(text, weight) if equals else None
    return found


def _member(repository: ModelRepository, member: ModelName) -> ModelKey:
    """Return the version that is meant: the labelled one, or what answers to the bare name."""
    releases = repository.releases(member.name)
    return ModelKey(member.name, chosen_version(repository, releases, member))


def _weight(text: str, weight: str) -> float:
    try:
        return float(weight)
    except ValueError:
        raise typer.BadParameter(f"the weight in {text!r} is not a number") from None
