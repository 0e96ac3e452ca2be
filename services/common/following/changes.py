"""Looking again whenever files may have changed."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from services.common.following.inotify import Folders

LOOK_S: Final = 5.0
"""How often to look although the kernel tells of changes: a link further along may have been put
in another's place, or a parent folder moved away."""
POLL_S: Final = 1.0
"""How often to look where the kernel tells nothing, or there is no such folder yet."""


async def follow(paths: Sequence[Path], look: Callable[[], Awaitable[object]]) -> None:
    """Look now, and again whenever one of the files may have changed; never returns, cancel it."""
    changed = asyncio.Event()
    watched = _Watched(changed.set)
    try:
        while True:
            # The order keeps what changes while somebody looks.
            changed.clear()
            told = watched.watch({folder for path in paths for folder in _folders(path)})
            await look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S if told else POLL_S):
                    await changed.wait()
    finally:
        watched.close()


def _folders(path: Path) -> set[Path]:
    """Return that of the name as given, and that of what it leads to now: either may change.

    Folders, since files are replaced: by a rename, or as Kubernetes does it with mounted secrets,
    by a link beside them that leads to another folder.
    """
    return {path.absolute().parent, path.resolve().parent}


class _Watched:
    """The folders that are watched at the moment."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._folders = Folders()
        self._wakes: dict[Path, Callable[[], None]] = {}

    def watch(self, folders: set[Path]) -> bool:
        """Watch these, and no others any more; False: the kernel cannot tell of all of them."""
        for folder in self._wakes.keys() - folders:
            self._folders.unwatch(self._wakes.pop(folder))
        told = True
        for folder in folders:
            # An object for each: `Folders` knows by it which folder it stands for.
            wake = self._wakes.setdefault(folder, functools.partial(self._wake))
            told = self._folders.watch(folder, wake) and told
        return told

    def close(self) -> None:
        self._folders.close()
