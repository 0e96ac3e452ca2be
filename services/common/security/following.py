"""Noticing that certificates were replaced, and that they will soon have expired."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from services.common.registry.inotify import Folders
from services.common.security.credentials import Credentials

LOOK_S: Final = 10.0
"""How often to look although the kernel tells of changes: the folder itself, or one that a link
leads to, may have been put in another's place."""
REMIND_S: Final = 6 * 3600.0
"""How often the log says that a certificate expires soon."""


async def keep_fresh(credentials: Sequence[Credentials]) -> None:
    """Read certificates again when their files change; never returns, cancel it."""
    folders = Folders()
    changed = asyncio.Event()
    wakes = {folder: _Wake(changed) for each in credentials for folder in _folders(each)}
    loop = asyncio.get_running_loop()
    remind_at = 0.0
    try:
        while True:
            changed.clear()
            for folder, wake in wakes.items():
                folders.watch(folder, wake)
            fresh = [each.refresh() for each in credentials]
            if any(fresh) or loop.time() >= remind_at:
                remind_at = loop.time() + REMIND_S
                for each in credentials:
                    each.warn_of_expiry()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await changed.wait()
    finally:
        folders.close()


def _folders(credentials: Credentials) -> set[Path]:
    """Those of the names as given, and of what they lead to: either may change."""
    files = credentials.files.all
    return {path.absolute().parent for path in files} | {path.resolve().parent for path in files}


class _Wake:
    """One for each folder: `Folders` knows whom it wakes by the object."""

    def __init__(self, changed: asyncio.Event) -> None:
        self._changed = changed

    def __call__(self) -> None:
        self._changed.set()
