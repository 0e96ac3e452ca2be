"""What files say, now and after every change."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from services.common.errors import ConfigurationError
from services.common.following.changes import follow

log = structlog.get_logger(__name__)


class FollowedFiles:
    """Tells what files say whenever they change; broken ones change nothing.

    Their contents are compared: times and sizes may be the same after two changes in one tick of
    the kernel's clock.
    """

    def __init__(
        self, what: str, paths: Sequence[Path], take: Callable[[Sequence[bytes]], None]
    ) -> None:
        """Read them at once; ConfigurationError where that fails.

        `what` names them for people, such as "the API keys". `take` is given what they contain,
        in the order of `paths`; it raises ConfigurationError, which must quote no secret, where
        that is of no use, and then has changed nothing.
        """
        self.paths = tuple(path.expanduser() for path in paths)
        self._what = what
        self._take = take
        self._trouble = ""
        """What the log says of them already."""
        self._contents = self._read()
        take(self._contents)

    async def follow(self) -> None:
        """Read them again whenever they may have changed; never returns, cancel it."""
        await follow(self.paths, self._look)

    async def refresh(self) -> bool:
        """Read them again; return whether something else was taken.

        Where they are broken the log says so, once for each reason.
        """
        try:
            contents = await asyncio.to_thread(self._read)
            if contents == self._contents and not self._trouble:
                return False
            self._take(contents)
        except ConfigurationError as error:
            if error.message != self._trouble:
                log.error(
                    "cannot be used; what was read before still counts",
                    what=self._what,
                    files=self._names,
                    reason=error.message,
                )
            self._trouble = error.message
            return False
        self._contents, self._trouble = contents, ""
        return True

    async def _look(self) -> None:
        if await self.refresh():
            log.info("read again", what=self._what, files=self._names)

    def _read(self) -> list[bytes]:
        try:
            return [path.read_bytes() for path in self.paths]
        except OSError as error:
            raise ConfigurationError(
                f"cannot read {self._what} in {error.filename}: {error.strerror}"
            ) from None

    @property
    def _names(self) -> list[str]:
        return [str(path) for path in self.paths]
