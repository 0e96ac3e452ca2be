"""Where the workers of a training come from."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Protocol

from services.common.http2.tls import ClientTls
from services.common.registry import Instance, Registry, open_registry
from services.common.registry.access import NO_ACCESS, ConsulAccess


class WorkerSource(Protocol):
    """Provides workers for one training."""

    @property
    def wanted(self) -> int:
        """How many workers the training is for, at least 1."""

    @property
    def tls(self) -> ClientTls | None:
        """How they are reached; None: in plain text."""

    @property
    def patience_s(self) -> float:
        """How long to wait for all of them before going on with fewer."""

    def open(self, logs: Path) -> AbstractAsyncContextManager[Registry]:
        """Provide them for the time of the block: those in the registry that it returns.

        `logs` is a folder for what they log.
        """

    async def discard(self, instance: Instance) -> None:
        """A worker cannot be reached: replace it, where that can be done."""


class RegisteredWorkers:
    """Workers that run anyway, on any machines: `facet train-worker`."""

    def __init__(
        self,
        url: str,
        wanted: int,
        *,
        access: ConsulAccess = NO_ACCESS,
        tls: ClientTls | None = None,
        patience_s: float = 5.0,
    ) -> None:
        """`url` is that of the registry, see `open_registry`; `tls` reaches the workers."""
        self.wanted = wanted
        self.patience_s = patience_s
        self._url = url
        self.tls = tls
        self._access = access

    @asynccontextmanager
    async def open(self, logs: Path) -> AsyncIterator[Registry]:
        """See WorkerSource. InvalidRequestError when the URL means nothing."""
        registry = open_registry(self._url, self._access)
        try:
            yield registry
        finally:
            await registry.close()

    async def discard(self, instance: Instance) -> None:
        """The registry's health checks see to it."""
