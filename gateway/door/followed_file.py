"""A file that is read again when it changes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from services.common.errors import ConfigurationError
from services.common.registry.alarm import Alarm
from services.common.registry.inotify import Folders

log = structlog.get_logger(__name__)

T = TypeVar("T")


class FollowedFile(Generic[T]):
    """Tells what the file says, now and after every change; a broken one changes nothing."""

    def __init__(
        self, path: Path, parse: Callable[[bytes], T], tell: Callable[[T], None], what: str
    ) -> None:
        """Read it at once; ConfigurationError where that fails.

        `parse` raises ConfigurationError, which must quote no secret; `what` names the file for
        people, such as "the API keys".
        """
        self._path = path.expanduser().absolute()
        self._parse = parse
        self._tell = tell
        self._what = what
        self._data = b""
        self._trouble = ""
        """What the log says of it already."""
        try:
            self._take(self._read())
        except ConfigurationError as error:
            raise ConfigurationError(f"{what} in {path}: {error.message}") from None

    async def follow(self) -> None:
        """Read it again whenever its folder changes; never returns by itself."""
        folders = Folders()
        # The folder, since the file is replaced: by a rename, or as Kubernetes does it by a link
        # beside it that leads to another folder.
        alarm = Alarm(folders, self._path.parent)
        try:
            while True:
                alarm.arm()
                await self._look()
                alarm.follow(())
                await alarm.wait()
        finally:
            alarm.close()
            folders.close()

    async def _look(self) -> None:
        try:
            data = await asyncio.to_thread(self._read)
            if data != self._data:
                self._take(data)
                log.info("read again", what=self._what, path=str(self._path))
        except ConfigurationError as error:
            if error.message != self._trouble:
                log.error(
                    "cannot be used; what it said before still counts",
                    what=self._what,
                    path=str(self._path),
                    reason=error.message,
                )
            self._trouble = error.message
        else:
            self._trouble = ""

    def _read(self) -> bytes:
        try:
            return self._path.read_bytes()
        except OSError as error:
            raise ConfigurationError(f"it cannot be read: {error.strerror}") from None

    def _take(self, data: bytes) -> None:
        self._tell(self._parse(data))
        self._data = data
