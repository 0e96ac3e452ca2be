"""Where the `facet` command begins.

Importing every subcommand takes a second of a core. `health` runs every few seconds beside each
container's service, and `serve` is what they all start with: these two get only what they need.
"""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType


def main() -> None:
    """Run the command."""
    if os.getpid() == 1:
        # The kernel keeps a signal from process 1 that has no handler, and a container that is
        # stopped while it starts would have to be killed. A service puts its own in this place.
        signal.signal(signal.SIGTERM, _end)
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name == "health":
        from facet.cli.health import health

        _run_alone(name, health)
    elif name == "serve":
        from facet.cli.serve import serve

        _run_alone(name, serve)
    else:
        from facet.cli.app import main as run_any

        run_any()


def _run_alone(name: str, command: Callable[..., None]) -> None:
    import typer  # after the signal is heard

    from facet.cli.ending import run

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    run(lambda: app(args=sys.argv[2:], prog_name=f"facet {name}"))


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
