"""Where the command line writes: answers to standard output, all else to standard error."""

import json
import sys
from typing import Any, Final

from rich.console import Console
from rich.markup import escape

PIPE_WIDTH: Final = 160
"""Columns where no terminal says how many there are: enough that no table is cut."""


def answers() -> Console:
    """The console for what was asked for."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    return console


def notices() -> Console:
    """The console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def errors_to(message: str) -> None:
    """Write an error."""
    notices().print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)


def write_json(value: Any, *, indent: int | None = None) -> None:
    """Write a JSON value and a newline to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
