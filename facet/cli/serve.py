"""`facet serve`."""

import importlib
from enum import StrEnum
from typing import Annotated

import typer

from facet.launcher.plan import MODULES

Service = StrEnum("Service", sorted(MODULES))  # type: ignore[misc]  # the names are the table's


def serve(service: Annotated[Service, typer.Argument(help="What to run.")]) -> None:
    """Run one service in the foreground, configured by FACET_* alone."""
    importlib.import_module(f"{MODULES[service]}.__main__").main()
