"""Files of remote repositories on this machine's disk, by their sha256.

    <sha256>.<suffix>         a whole file; locked, shared, by processes that were given it lately
    <sha256>.<suffix>.part    being written by the process that has it locked, or left by a dead one

All processes of a machine may share a folder. A file is written beside, checked, then renamed;
whoever wants it meanwhile waits for that. When the limit is reached those go that were used the
longest ago and that nobody has locked.
"""

import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import structlog

from services.common.errors import UnavailableError
from services.common.models.artefacts import StoredFile, sha256_of
from services.common.models.file_locks import is_still, lock

log = structlog.get_logger(__name__)

WAIT_S: Final = 900.0
"""How long to wait for another process that downloads the same file."""

WAIT_STEP_S: Final = 1.0
"""How often to look whether this process is to stop."""

KEPT_LOCKS: Final = 32
"""How many of the files given out last stay locked by this process. An engine opens its file soon
after, and what is open stays readable when it is deleted."""

ATTEMPTS: Final = 5

_PART: Final = ".part"
_SHA256_DIGITS: Final = 64
_OURS: Final = re.compile(r"[0-9a-f]{64}(\.[A-Za-z0-9_-]+)?(\.part)?")

Download = Callable[[BinaryIO], None]
"""Writes a file and checks it: raises when it is not what it should be."""


class FileCache:
    """A folder of files. Not for two threads at once."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._held: OrderedDict[Path, int] = OrderedDict()
        self._closed = False

    def get(self, stored: StoredFile, download: Download) -> Path:
        """Return the path of a file that is as `stored` says; `download` brings it if need be.

        Its name ends as that of `stored` does, since some programs go by that. A file larger than
        the limit is kept all the same, alone. Raises what `download` raises, and UnavailableError
        (CACHE_UNAVAILABLE) when the disk is full, or refuses.
        """
        path = self._folder / f"{stored.sha256}{Path(stored.file).suffix}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for _ in range(ATTEMPTS):
                if self._hold(path):
                    return path
                self._bring(path, stored.bytes, download)
            reason = "what is written does not stay as it was"
        except OSError as error:
            reason = error.strerror or str(error)
        raise UnavailableError(
            f"the cache {self._folder} cannot hold a file of {stored.bytes} bytes: {reason}",
            reason="CACHE_UNAVAILABLE",
        )

    def close(self) -> None:
        """Unlock everything, and wait no more for others; from any thread."""
        self._closed = True
        while self._held:
            os.close(self._held.popitem()[1])

    def _hold(self, path: Path) -> bool:
        """Lock a file that is whole and note that it is used; False when there is none."""
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        if not lock(descriptor, WAIT_S, shared=True, path=path):
            os.close(descriptor)
            return False
        if sha256_of(path) != path.name[:_SHA256_DIGITS]:
            log.warning("a file in the cache was altered", path=str(path))
            path.unlink(missing_ok=True)
            os.close(descriptor)
            return False
        with suppress(PermissionError):  # another user's file
            os.utime(path)
        if (before := self._held.pop(path, None)) is not None:
            os.close(before)
        self._held[path] = descriptor
        if len(self._held) > KEPT_LOCKS:
            os.close(self._held.popitem(last=False)[1])
        return True

    def _bring(self, path: Path, size: int, download: Download) -> None:
        """Download a file, or wait until another process has done so."""
        part = path.with_name(path.name + _PART)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        with os.fdopen(descriptor, "r+b") as stream:
            if not self._wait(part, descriptor):
                return
            if path.exists():
                part.unlink()
                return
            try:
                self._make_room(size)
                stream.truncate()
                download(stream)
                stream.flush()
                os.fsync(descriptor)
                part.rename(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise

    def _wait(self, part: Path, descriptor: int) -> bool:
        """Lock a file that is to be written; False when another process has finished with it."""
        give_up = time.monotonic() + WAIT_S
        while not lock(descriptor, WAIT_STEP_S, path=part):
            if not is_still(part, descriptor):
                return False
            if self._closed or time.monotonic() > give_up:
                raise TimeoutError("another process has been downloading it for too long")
        return True

    def _make_room(self, size: int) -> None:
        found = [
            (path.stat(), path) for path in self._folder.iterdir() if _OURS.fullmatch(path.name)
        ]
        total = size + sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda each: each[0].st_mtime_ns):
            if path.suffix == _PART or total > self._limit_bytes:
                total -= stat.st_size if _evict(path) else 0


def _evict(path: Path) -> bool:
    """Delete a file unless somebody has locked it, and say whether it was."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        if not lock(descriptor, 0, path=path):
            return False
        path.unlink()
        return True
    finally:
        os.close(descriptor)
