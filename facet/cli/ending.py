"""How a command ends: an error is one sentence and an exit code, never a traceback."""

import sys
from collections.abc import Callable
from typing import Final

from services.common.errors import FacetError

EXIT_FAILED: Final = 1
EXIT_UNREACHABLE: Final = 3


def run(command: Callable[[], object]) -> None:
    """Run a command to its end."""
    try:
        command()
    except FacetError as error:
        from facet.cli.output import errors_to  # costs more than most of what goes well

        errors_to(error.message)
        sys.exit(EXIT_UNREACHABLE if error.reason == "UNREACHABLE" else EXIT_FAILED)
