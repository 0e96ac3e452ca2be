"""Whether the peer of a connection still lives."""

import asyncio
from typing import TYPE_CHECKING, Final

from services.common.http2.frames import Kind, frame

if TYPE_CHECKING:
    from services.common.http2.wire import Wire

READ_WITHIN_S: Final = 0.1
"""What lies in the socket is read within this, even where a timer is looked at first."""


class Watch:
    """Tries a silent connection by a ping, and gives it up when that is not answered."""

    def __init__(self, connection: "Wire", after_s: float, within_s: float) -> None:
        """`after_s`: the silence that is tried; `within_s`: when the answer must be there."""
        self._connection = connection
        self._after_s = after_s
        self._within_s = within_s
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(after_s, self._look)

    def stop(self) -> None:
        """Let the connection be."""
        self._timer.cancel()

    def _look(self) -> None:
        connection = self._connection
        connection.settings_taken = 0
        if connection.heard:
            connection.heard = False
            self._timer = self._loop.call_later(self._after_s, self._look)
        else:
            connection.write(frame(Kind.PING, 0, 0, b"\0" * 8))
            # This process may have stood still for as long itself: then the answer is there and
            # was not read yet.
            self._timer = self._loop.call_later(self._within_s, self._read_first)

    def _read_first(self) -> None:
        self._timer = self._loop.call_later(READ_WITHIN_S, self._judge)

    def _judge(self) -> None:
        if self._connection.heard:
            self._look()
        else:
            self._connection.abort("the peer does not answer")
