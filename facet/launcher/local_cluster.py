"""A running cluster on this machine."""

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from facet.client.connection import Gateway
from facet.client.readiness import wait_ready
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death, Supervisor
from services.common.errors import ConfigurationError
from services.common.registry import open_registry
from services.common.security.files import files_in
from services.common.settings import CommonSettings
from services.common.shared_port import hold_port

STOP_FIRST: Final = ("gateway",)
"""The door closes first, and answers what is inside with the help of all others."""


class LocalCluster:
    """Handle of a cluster that `run_cluster` keeps running."""

    def __init__(self, plan: ClusterPlan, supervisor: Supervisor, running: asyncio.Task[None]):
        self._plan = plan
        self._supervisor = supervisor
        self.running = running
        """Ends when the supervisor does; raises what it raised."""

    @property
    def pids(self) -> dict[str, int]:
        """Process name → process id of what runs now."""
        return self._supervisor.pids

    async def gateway_address(self) -> str:
        """Return host:port of the gateway, once it has registered; of several, their shared one."""
        if self._plan.gateways > 1:
            return self._plan.public_address
        settings = CommonSettings(home=self._plan.home)
        url = self._plan.settings.get("FACET_REGISTRY", settings.registry_url)
        registry = open_registry(url, settings.consul_access)
        try:
            async with contextlib.aclosing(registry.watch("gateway")) as views:
                async for view in views:
                    if view.instances:
                        return view.instances[0].address
        finally:
            await registry.close()
        raise AssertionError("a watch never ends by itself")

    @property
    def tls_ca(self) -> Path | None:
        """The authority of the gateways' certificates; None: they speak plain text."""
        return files_in(self._plan.tls, "gateway").ca if self._plan.tls else None

    async def ready(self, on_progress: Callable[[list[str], list[str]], None]) -> str:
        """Wait until the cluster answers; returns the gateway's address.

        `on_progress(serving, missing)` gets the ids of the instances that serve, and what still
        stands in the way. Raises what ended the cluster when it ends first.
        """
        waiting = asyncio.create_task(self._ready(on_progress))
        try:
            await asyncio.wait({waiting, self.running}, return_when=asyncio.FIRST_COMPLETED)
            if self.running.done():
                self.running.result()
                raise ConfigurationError("the cluster was stopped while it started")
            return waiting.result()
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _ready(self, on_progress: Callable[[list[str], list[str]], None]) -> str:
        address = await self.gateway_address()
        expected = len(self._plan.processes())
        await wait_ready(Gateway(address, self.tls_ca), expected, on_progress)
        return address


@asynccontextmanager
async def run_cluster(
    plan: ClusterPlan, on_death: Callable[[Death], None]
) -> AsyncGenerator[LocalCluster, None]:
    """Start a cluster, and stop all of it at the end.

    Raises ConfigurationError when another cluster runs in the same home, or when the port that
    gateways are to share is in use.
    """
    with _only_one(plan), _public_port(plan) as port:
        plan = replace(plan, port=port)
        supervisor = Supervisor(
            plan.processes(), plan.home / "logs", on_death, stop_first=STOP_FIRST
        )
        running = asyncio.create_task(supervisor.run())
        try:
            yield LocalCluster(plan, supervisor, running)
        finally:
            await supervisor.stop()
            await asyncio.gather(running, return_exceptions=True)


@contextlib.contextmanager
def _public_port(plan: ClusterPlan) -> Iterator[int]:
    """Hold the port of gateways that share it: to the kernel, those of two clusters are alike."""
    if plan.gateways == 1:
        yield plan.port
        return
    with hold_port(plan.host, plan.port) as port:
        yield port


@contextlib.contextmanager
def _only_one(plan: ClusterPlan) -> Iterator[None]:
    plan.home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(plan.home / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigurationError(
                f"a cluster runs in {plan.home} already; another one needs another --home"
            ) from None
        yield
    finally:
        os.close(descriptor)
