"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from services.common.settings import DEFAULT_HOME

Home: TypeAlias = Annotated[
    Path,
    typer.Option(envvar="FACET_HOME", help="Folder of all state: models, logs, registry."),
]
Models: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="FACET_MODELS",
        help="Model repository, a folder or a URL such as s3://bucket/models; "
        "default: `models` in --home.",
    ),
]
Registry: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="FACET_REGISTRY",
        help="file:///path or consul://host:port[/prefix]; default: `registry` in --home.",
    ),
]
Gateway: TypeAlias = Annotated[
    str, typer.Option(envvar="FACET_GATEWAY", help="HOST:PORT of the gateway.")
]
ApiKeyFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="FACET_API_KEY_FILE",
        help="File with the API key for the gateway; else the key is that in FACET_API_KEY.",
    ),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON.")]

DEFAULT_GATEWAY = "localhost:50051"

__all__ = [
    "DEFAULT_GATEWAY",
    "DEFAULT_HOME",
    "ApiKeyFile",
    "Gateway",
    "Home",
    "Json",
    "Models",
    "Registry",
]
