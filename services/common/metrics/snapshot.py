"""All that a process tells at one moment."""

import asyncio
import importlib.metadata
from collections.abc import Callable, Iterable
from functools import cache
from typing import Final, TypeAlias

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.common.metrics.families import gauge

Source: TypeAlias = Callable[[], Iterable[Metric]]
"""Makes metrics of the state of the moment; called on the event loop."""

COLLECT_WITHIN_S: Final = 5.0
"""An event loop that has not come round by then hangs."""


class LoopSnapshot(Collector):
    """Asks its sources on the event loop, for a scrape that runs on a thread of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *sources: Source) -> None:
        self._loop = loop
        self._sources = sources

    def collect(self) -> list[Metric]:
        """See Collector. Raises TimeoutError when the event loop hangs."""
        asked = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        try:
            return asked.result(COLLECT_WITHIN_S)
        finally:
            asked.cancel()

    async def _ask(self) -> list[Metric]:
        return [metric for source in self._sources for metric in source()]


class BuildInfo(Collector):
    """What runs here."""

    def __init__(self, service: str) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        yield gauge(
            "facet_build_info",
            "1; the labels say which service of which version of Facet runs.",
            [((self._service, version()), 1)],
            ("service", "version"),
        )


@cache
def version() -> str:
    """Return the version of Facet that is installed."""
    try:
        return importlib.metadata.version("facet")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout that is not installed
        return "unknown"
