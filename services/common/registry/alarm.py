"""Waiting for a folder to change or for a process to die."""

import asyncio
import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from services.common.following.inotify import Folders
from services.common.registry.processes import Deaths, Process

POLL_S: Final = 0.5
"""How often to look where the kernel tells nothing."""

LOOK_AGAIN_S: Final = 5.0
"""How often to look although the kernel would tell: a parent folder may have been moved away."""


class Alarm:
    """Rings for one caller. The order is `arm`, look at the files, `follow`, `wait`.

    A change between looking and waiting rings too, since `arm` comes first.
    """

    def __init__(self, folders: Folders, folder: Path) -> None:
        self._folders = folders
        self._folder = folder
        self._rung = asyncio.Event()
        self._deaths = Deaths(self._rung.set)
        self._told = False

    def arm(self) -> None:
        """Ring from now on at changes in the folder, which is made if need be (else OSError)."""
        self._rung.clear()
        self._told = False
        self._folder.mkdir(parents=True, exist_ok=True)
        self._told = self._folders.watch(self._folder, self._ring)

    def follow(self, processes: Iterable[Process]) -> None:
        """Ring also when one of these dies; nobody else is followed any more."""
        self._told = self._deaths.follow(processes) and self._told

    async def wait(self) -> None:
        """Return when it rings, and after a while in any case."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AGAIN_S if self._told else POLL_S):
                await self._rung.wait()

    def close(self) -> None:
        """Free what the alarm holds."""
        self._folders.unwatch(self._ring)
        self._deaths.close()

    def _ring(self) -> None:
        self._rung.set()
