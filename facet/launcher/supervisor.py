"""Keeps processes running: what dies is started again, with backoff, and the reason is told."""

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from facet.launcher.plan import ProcessPlan
from services.common.errors import ConfigurationError
from services.common.process import EXIT_CANNOT_START

FIRST_BACKOFF_S: Final = 0.1
MAX_BACKOFF_S: Final = 10.0
STEADY_S: Final = 10.0
"""A process that ran so long has recovered: its next death starts with the first backoff."""
REASON_BYTES: Final = 4096
UNTOLD: Final = frozenset(("timestamp", "level", "service", "instance", "event"))
"""Fields of a line that say nothing to whoever knows which process it is from."""


@dataclass(frozen=True, slots=True)
class Death:
    """A process that ended without being asked to."""

    name: str
    reason: str
    restart_in_s: float


class Supervisor:
    """Runs processes until it is stopped; their output goes to `<logs>/<name>.log`.

    `stop` ends the processes of `stop_first` in order, before all others together.
    """

    def __init__(
        self,
        plans: Iterable[ProcessPlan],
        logs: Path,
        on_death: Callable[[Death], None],
        *,
        stop_first: Iterable[str] = (),
        kill_after_s: float = 15.0,
    ) -> None:
        self._plans = list(plans)
        self._logs = logs
        self._on_death = on_death
        self._stop_first = list(stop_first)
        self._kill_after_s = kill_after_s
        self._stopping: set[str] = set()
        self._stop_changed = asyncio.Event()
        self._running: dict[str, asyncio.subprocess.Process] = {}

    @property
    def pids(self) -> dict[str, int]:
        """Name → process id of what runs now."""
        return {name: process.pid for name, process in self._running.items()}

    async def run(self) -> None:
        """Run until `stop`. Raises ConfigurationError when a process can never start.

        Leaves no process behind, however it ends.
        """
        self._logs.mkdir(parents=True, exist_ok=True)
        keepers = [asyncio.create_task(self._keep(plan), name=plan.name) for plan in self._plans]
        try:
            await asyncio.gather(*keepers)
        finally:
            stopping = asyncio.create_task(self.stop())
            await asyncio.shield(stopping)
            await asyncio.gather(*keepers, return_exceptions=True)

    async def stop(self) -> None:
        """End all processes in order: SIGTERM, and SIGKILL for those that do not follow."""
        for service in self._stop_first:
            await self._end([plan.name for plan in self._plans if plan.service == service])
        await self._end([plan.name for plan in self._plans])

    async def _end(self, names: list[str]) -> None:
        self._stopping.update(names)
        self._stop_changed.set()
        self._stop_changed = asyncio.Event()
        processes = [self._running[name] for name in names if name in self._running]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        if processes:
            waits = [asyncio.create_task(process.wait()) for process in processes]
            await asyncio.wait(waits, timeout=self._kill_after_s)
            for process in processes:
                if process.returncode is None:
                    process.kill()
            await asyncio.gather(*waits)

    async def _keep(self, plan: ProcessPlan) -> None:
        backoff_s = FIRST_BACKOFF_S
        while plan.name not in self._stopping:
            started = time.monotonic()
            code = await self._run_once(plan)
            if plan.name in self._stopping:
                return
            if code == EXIT_CANNOT_START:
                raise ConfigurationError(f"{plan.name} cannot start: {self._last_line(plan)}")
            if time.monotonic() - started >= STEADY_S:
                backoff_s = FIRST_BACKOFF_S
            self._on_death(Death(plan.name, self._reason(plan, code), backoff_s))
            await self._stopping_within(plan.name, backoff_s)
            backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)

    async def _run_once(self, plan: ProcessPlan) -> int:
        with self._log(plan).open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *plan.command,
                env=plan.environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C is for the supervisor, which ends the processes in order.
                start_new_session=True,
            )
        self._running[plan.name] = process
        try:
            return await process.wait()
        finally:
            if process.returncode is not None:
                del self._running[plan.name]

    async def _stopping_within(self, name: str, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while name not in self._stopping and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stop_changed.wait()

    def _reason(self, plan: ProcessPlan, code: int) -> str:
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        return f"exit code {code}: {self._last_line(plan)}"

    def _last_line(self, plan: ProcessPlan) -> str:
        with self._log(plan).open("rb") as log:
            log.seek(0, 2)
            log.seek(max(0, log.tell() - REASON_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        return next((_readable(line) for line in reversed(lines) if line.strip()), "no output")

    def _log(self, plan: ProcessPlan) -> Path:
        return self._logs / f"{plan.name}.log"


def _readable(line: str) -> str:
    """A line of a log as people read it, where it was written for machines."""
    try:
        fields = json.loads(line)
    except ValueError:
        return line.strip()
    if not isinstance(fields, dict) or "event" not in fields:
        return line.strip()
    told = [f"{name}={value}" for name, value in fields.items() if name not in UNTOLD]
    return " ".join([str(fields["event"]), *told])
