"""Options that several subcommands share."""

from pathlib import Path
from typing import Annotated, Final, TypeAlias

import typer

from facet.client.connection import Gateway
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
        help="file:///path, or consul:// or consuls://host:port[/prefix]; "
        "default: `registry` in --home.",
    ),
]
ToGateway: TypeAlias = Annotated[
    Gateway, typer.Option(envvar="FACET_GATEWAY", help="HOST:PORT of the gateway.")
]
"""Of a command under `calls_gateway`."""
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON.")]

DEFAULT_GATEWAY: Final = Gateway("localhost:50051")
ANY_GATEWAY: Final = Gateway("")
"""The usual one, if it answers."""

__all__ = ["DEFAULT_GATEWAY", "DEFAULT_HOME", "Home", "Json", "Models", "Registry", "ToGateway"]
