"""`facet metrics`."""

import asyncio
import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from facet.cli.options import DEFAULT_HOME, Home, Registry
from facet.cli.output import write_json
from facet.launcher.plan import MODULES
from services.common.metrics.targets import current_targets, keep_file
from services.common.registry import open_registry
from services.common.settings import CommonSettings, read_settings
from services.training.distributed import worker

SERVICES: Final = (*MODULES, worker.NAME)

app = typer.Typer(name="metrics", help="What Prometheus needs to know.", no_args_is_help=True)


@app.callback()
def metrics() -> None:
    """Group the commands, though there is one."""


@app.command()
def targets(
    file: Annotated[
        Path | None,
        typer.Option(help="Keep this file up to date until Ctrl-C, for file_sd_configs."),
    ] = None,
    registry: Registry = "",
    home: Home = DEFAULT_HOME,
) -> None:
    """Write where each process of a cluster can be scraped, as JSON that Prometheus reads."""
    settings = read_settings(CommonSettings, home=home, registry=registry)
    asyncio.run(_targets(settings, file))


async def _targets(settings: CommonSettings, file: Path | None) -> None:
    registry = open_registry(settings.registry_url, settings.consul_access)
    try:
        if file is None:
            write_json(await current_targets(registry, SERVICES), indent=2)
            return
        keeping = asyncio.create_task(keep_file(registry, SERVICES, file))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, keeping.cancel)
        with suppress(asyncio.CancelledError):
            await keeping
    finally:
        await registry.close()
