"""Training workers on this machine, for the time of one training."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

from facet.launcher.plan import FOR_ONE_PROCESS, ProcessPlan
from facet.launcher.supervisor import Supervisor
from services.common.registry import Instance, Registry, open_registry
from services.training.distributed.worker import NAME

PATIENCE_S: Final = 60.0


class LocalWorkers:
    """A WorkerSource whose workers are processes of its own; one that dies is started again."""

    patience_s = PATIENCE_S
    tls = None
    """All of it is on this machine's loopback."""

    def __init__(self, wanted: int, threads: int = 0) -> None:
        """`threads`: CPU threads of each; 0: they share the cores."""
        self.wanted = wanted
        self._threads = threads or max(1, (os.cpu_count() or 1) // wanted)
        self._registry: Registry | None = None
        self._supervisor: Supervisor | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Name → process id of the workers that run now."""
        return self._supervisor.pids if self._supervisor else {}

    @asynccontextmanager
    async def open(self, logs: Path) -> AsyncIterator[Registry]:
        """See WorkerSource. ConfigurationError when workers cannot run here."""
        registry_url = (logs / "registry").resolve().as_uri()
        plans = [self._plan(number, registry_url) for number in range(1, self.wanted + 1)]
        # The coordinator notices for itself what the death of a worker means.
        self._supervisor = supervisor = Supervisor(plans, logs, lambda _: None)
        self._registry = registry = open_registry(registry_url)
        running = asyncio.create_task(supervisor.run())
        try:
            yield registry
        finally:
            self._registry = None
            await registry.close()
            await supervisor.stop()
            await running  # a worker that can never start is the better reason

    async def discard(self, instance: Instance) -> None:
        """Kill a worker that does not answer, so that it is started again."""
        if self._registry is None or self._supervisor is None:
            return
        # One that is dead has left the registry, and its successor is another instance.
        if instance.id in {each.id for each in await self._registry.instances(NAME)}:
            pid = self._supervisor.pids.get(instance.id.rpartition("-")[0])
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _plan(self, number: int, registry_url: str) -> ProcessPlan:
        name = f"{NAME}-{number}"
        environment = {"FACET_LOG_FORMAT": "text", **os.environ}
        for setting in FOR_ONE_PROCESS:
            environment.pop(setting, None)
        environment |= {
            "FACET_NAME": name,
            "FACET_REGISTRY": registry_url,
            "FACET_DIE_WITH_PARENT": "true",
            "FACET_DRAIN_S": "1",
            "FACET_TRAINING_THREADS": str(self._threads),
        }
        command = (sys.executable, "-m", "services.training.distributed.worker")
        return ProcessPlan(name, NAME, command, environment)
