"""Which process a file was written by, and whether that process still lives."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this machine; another one that got the same number later is a different one."""

    pid: int
    started: str
    """A mark of its start: boot and clock tick where the kernel tells, else seconds."""

    @classmethod
    def current(cls) -> Self:
        """Return the calling process."""
        pid = os.getpid()
        return cls(pid, _start_mark(pid) or "")

    def is_alive(self) -> bool:
        """Tell whether it runs; one that has ended but was not waited for does not."""
        return _start_mark(self.pid) == self.started


if sys.platform == "linux":

    def _start_mark(pid: int) -> str | None:
        # proc(5): the second field, in brackets, may itself hold brackets and blanks.
        try:
            state, *fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (OSError, ValueError):
            return None
        if state in (b"Z", b"X") or len(fields) < 19:
            return None
        return f"{_boot()}:{int(fields[18])}"

    def _boot() -> str:
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return ""

else:

    def _start_mark(pid: int) -> str | None:
        import psutil  # only here: Linux starts faster without it

        try:
            process = psutil.Process(pid)
            return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
        except psutil.Error:
            return None


class Deaths:
    """Calls back when one of some processes dies, without asking again and again."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify
        self._descriptors: dict[Process, int] = {}

    def follow(self, processes: Iterable[Process]) -> bool:
        """Follow exactly these processes from now on.

        Returns False when the kernel cannot tell of some of them: the caller must look itself.
        """
        wanted = {process for process in processes if process.pid != os.getpid()}
        for process in self._descriptors.keys() - wanted:
            self._forget(process)
        told = [self._add(process) for process in wanted - self._descriptors.keys()]
        return all(told)

    def close(self) -> None:
        """Follow nobody any more."""
        self.follow(())

    def _add(self, process: Process) -> bool:
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            loop.call_soon(self._notify)
            return True
        except (AttributeError, OSError):
            return False
        if not process.is_alive():  # died before; the number may be another process's by now
            os.close(descriptor)
            loop.call_soon(self._notify)
            return True
        self._descriptors[process] = descriptor
        loop.add_reader(descriptor, self._died, process)
        return True

    def _died(self, process: Process) -> None:
        self._forget(process)
        self._notify()

    def _forget(self, process: Process) -> None:
        descriptor = self._descriptors.pop(process)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
