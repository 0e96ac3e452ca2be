"""The configuration reference, as Markdown: docs/configuration.md."""

from collections.abc import Iterable, Sequence
from typing import Final

from facet.reference.sections import Section
from facet.reference.variable import Variable

PREFACE: Final = """\
# Configuration

Everything is set by environment variables; an empty one counts as none. This page is written by \
`make reference` from the code that reads them. A wrong value ends a process at its start with \
exit status 78 and a sentence for each.

    facet settings inference             # what a service reads, in a terminal
    facet settings inference --values    # with what is in force here, and where that is from

A service reads the tables for every process and every service, and its own, whose defaults win. \
Values marked secret are never shown. What object stores and engines read themselves (`AWS_*`, \
`FSSPEC_*`, `CUDA_VISIBLE_DEVICES`) works as well.
"""
_HEADINGS: Final = ("variable", "values", "default", "meaning")


def to_markdown(sections: Iterable[Section]) -> str:
    """Return the whole page."""
    return "\n".join([PREFACE, *(line for section in sections for line in _section(section))])


def _section(section: Section) -> list[str]:
    heading = section.title if " " in section.title else section.title.capitalize()
    rows = [_HEADINGS, ("---",) * len(_HEADINGS), *map(_cells, section.variables)]
    return [f"## {heading}", "", *map(_row, rows), ""]


def _cells(variable: Variable) -> Sequence[str]:
    default = f"`{variable.default}`" if variable.default else ""
    return f"`{variable.name}`", variable.values, default, variable.meaning


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
