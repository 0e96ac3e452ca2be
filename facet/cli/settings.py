"""`facet settings`."""

import os
import sys
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from facet.cli.output import answers
from facet.reference.markdown import to_markdown
from facet.reference.sections import SETTINGS, all_sections, service_variables
from facet.reference.variable import Variable
from services.common.errors import InvalidRequestError
from services.common.settings import read_settings

ConfiguredService = StrEnum("ConfiguredService", sorted(SETTINGS))  # type: ignore[misc]  # the names are the table's


def settings(
    context: typer.Context,
    service: Annotated[
        ConfiguredService | None, typer.Argument(help="All that this service reads.")
    ] = None,
    values: Annotated[
        bool, typer.Option("--values", help="What is in force for SERVICE here, and where from.")
    ] = False,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Write docs/configuration.md to standard output.")
    ] = False,
) -> None:
    """Show the environment variables that configure Facet: values, defaults, meanings."""
    sections = all_sections(context.find_root().command)
    if markdown:
        sys.stdout.write(to_markdown(sections))
    elif service is not None:
        variables = service_variables(service)
        answers().print(_in_force(service, variables) if values else _told(variables))
    elif values:
        raise InvalidRequestError("--values needs a SERVICE: each has settings of its own")
    else:
        for section in sections:
            answers().print(f"\n[bold]{section.title}[/]")
            answers().print(_told(section.variables))


def _table(*headings: str) -> Table:
    table = Table(box=None)
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading == "variable")
    return table


def _told(variables: "list[Variable] | tuple[Variable, ...]") -> Table:
    table = _table("variable", "values", "default", "meaning")
    for variable in variables:
        table.add_row(
            *map(escape, (variable.name, variable.values, variable.default, variable.meaning))
        )
    return table


def _in_force(service: str, variables: list[Variable]) -> Table:
    """Read the settings as the service would, so that what is wrong is told alike."""
    read = read_settings(SETTINGS[service])
    table = _table("variable", "value", "from")
    for variable in variables:
        value = getattr(read, variable.field)
        origin = "environment" if os.environ.get(variable.name) else "default"
        table.add_row(variable.name, "" if value is None else escape(str(value)), origin)
    return table
