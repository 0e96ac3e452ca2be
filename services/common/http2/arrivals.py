"""Requests that are arriving: how long one may take, and how much of them may lie here."""

import asyncio
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

import grpc

from services.common.http2.server_call import ServerCall

if TYPE_CHECKING:
    from services.common.http2.connection import Connection

LOOKS: Final = 4
"""How often the time of a request is looked at while it passes."""


class Arrivals:
    """Ends calls whose requests do not come, or come when there is no room for them.

    One look at all calls now and then costs less than a timer for each, most of which are whole
    as soon as they are seen; a call so lives up to a quarter of its time longer.
    """

    def __init__(self, within_s: float, max_bytes: int) -> None:
        """`within_s`: for a request, from its first byte to its last; 0 means no limit."""
        self.bytes = 0
        """Of all requests that are incomplete."""
        self._within_s = within_s
        self._max_bytes = max_bytes
        self._connections: Collection[Connection] = ()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, connections: Collection["Connection"]) -> None:
        """Look at the calls of these from now on."""
        self._connections = connections
        if self._within_s and self._timer is None:
            self._later()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count(self, call: ServerCall) -> None:
        """Something of a request has come, or its call has ended."""
        held = call.held_bytes
        grown = held - call.arriving_bytes
        if not grown:
            return
        self.bytes += grown
        call.arriving_bytes = held
        if grown > 0 and self._max_bytes and self.bytes > self._max_bytes:
            call.message_refused(
                grpc.StatusCode.RESOURCE_EXHAUSTED, "too much is arriving here; try again"
            )

    def _later(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._within_s / LOOKS, self._look)

    def _look(self) -> None:
        self._later()
        now = asyncio.get_running_loop().time()
        for connection in list(self._connections):
            for stream in list(connection.streams.values()):
                if isinstance(stream, ServerCall):
                    self._judge(stream, now)

    def _judge(self, call: ServerCall, now: float) -> None:
        since, received = call.awaited
        if not call.incomplete:
            call.awaited = (now, -1)
        elif received != call.received:
            call.awaited = (now, call.received)
        elif now - since >= self._within_s:
            call.message_refused(
                grpc.StatusCode.DEADLINE_EXCEEDED,
                f"the request did not arrive within {self._within_s:g} s",
            )
