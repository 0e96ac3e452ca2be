"""Where the command line writes: answers to standard output, all else to standard error."""

import json
import sys
from typing import Any

from rich.console import Console
from rich.markup import escape


def answers() -> Console:
    """The console for what was asked for."""
    return Console(highlight=False)


def notices() -> Console:
    """The console for progress, warnings and errors."""
    return Console(stderr=True, highlight=False)


def errors_to(message: str) -> None:
    """Write an error."""
    notices().print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)


def write_json(value: Any, *, indent: int | None = None) -> None:
    """Write a JSON value and a newline to standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
