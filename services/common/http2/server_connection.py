"""One client of a server."""

import asyncio
from typing import TYPE_CHECKING, Final

from services.common.http2.connection import Connection
from services.common.http2.frames import (
    MAX_WINDOW,
    PREFACE,
    ErrorCode,
    Kind,
    ProtocolError,
    Setting,
    frame,
    goaway_frame,
)
from services.common.http2.headers import Header
from services.common.http2.rules import request_fault
from services.common.http2.server_call import ServerCall
from services.common.http2.tls import identity_of

if TYPE_CHECKING:
    from services.common.http2.server import Server

PREFACE_WITHIN_S: Final = 10.0
"""A client that has not said that it speaks HTTP/2 by then is let go."""
TOLD_WITHIN_S: Final = 1.0
"""A client that has not confirmed by then that it heard that the server stops is not waited for."""
PING_AFTER_S: Final = 30.0
"""A client of which nothing came for so long is tried by a ping: it may have lost its network,"""
PONG_WITHIN_S: Final = 20.0
"""and is let go when that is not answered within this."""

_STOPPING: Final = b"stopping"
"""Eight bytes, by which the ping after the news is known when it comes back."""


class ServerConnection(Connection):
    """One client."""

    lingers = True

    def __init__(self, server: "Server", address: str = "") -> None:
        super().__init__()
        self.address = address
        """Where the client is, on a server that counts them."""
        self._server = server
        self._beginning: bytes | None = b""
        """What has come of the preface; None once it is complete."""
        self._last_stream = 0
        self._last_seen = 0
        """The last stream that the client opened, taken or not."""
        self._sound: list[Header] | None = None
        """Headers that were found to be well-formed."""
        self._retiring = False
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the client sends no more calls."""
        self.peer: str | None = None
        """Who the client is by its certificate, such as spiffe://facet/gateway."""
        self._running = 0
        self._patience: asyncio.TimerHandle | None = None

    @property
    def last_stream(self) -> int:
        """See Connection.last_stream."""
        return self._last_stream

    def own_settings(self) -> dict[Setting, int]:
        """See Connection.own_settings."""
        return {Setting.MAX_CONCURRENT_STREAMS: self._server.limits.max_streams}

    def patience(self) -> tuple[float, float]:
        """See Wire.patience."""
        return PING_AFTER_S, PONG_WITHIN_S

    def idle(self, stream_id: int) -> bool:
        """See Connection.idle."""
        return stream_id % 2 == 0 or stream_id > self._last_seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection.connection_made."""
        super().connection_made(transport)
        self.peer = identity_of(transport)
        self._server.connected(self)
        self._patience = asyncio.get_running_loop().call_later(
            PREFACE_WITHIN_S, self.abort, "no HTTP/2 was spoken"
        )
        if self._server.stopping:
            self.retire()

    def connection_lost(self, exc: Exception | None) -> None:
        """See Connection.connection_lost."""
        self._server.disconnected(self)
        super().connection_lost(exc)

    def end(self, reason: str) -> None:
        """See Wire.end."""
        super().end(reason)
        if not self.told.done():
            self.told.set_result(None)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def frames_received(self, data: bytes) -> None:
        """See Connection.frames_received; the preface comes first."""
        if self._beginning is not None:
            data = self._beginning + data
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ProtocolError("this is not HTTP/2")
            if len(data) < len(PREFACE):
                self._beginning = data
                return
            self._beginning = None
            data = data[len(PREFACE) :]
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
        super().frames_received(data)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """See Connection.reset; the client brought it about."""
        super().reset(stream_id, code)
        self.owe()

    def headers_for_new_stream(self, stream_id: int, headers: list[Header]) -> None:
        """A call comes in."""
        if stream_id % 2 == 0:
            raise ProtocolError("a stream that only this end could have opened")
        if stream_id <= self._last_seen:
            if self.was_reset(stream_id):
                return  # it was under way
            raise ProtocolError("headers on a stream that has ended", ErrorCode.STREAM_CLOSED)
        self._last_seen = stream_id
        most = self._server.limits.max_streams
        if self._retiring or max(len(self.streams), self._running) >= most:
            self.reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self._last_stream = stream_id
        # The headers of one more call of the same kind are the same object.
        if headers is not self._sound:
            if request_fault(headers):
                self.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
            self._sound = headers
        call = ServerCall(self._server, self, stream_id, headers)
        self.streams[stream_id] = call
        call.start()
        if call.local_ended:
            self.owe()

    def call_started(self, task: asyncio.Task[None]) -> None:
        """A handler runs; it counts until it has ended, even where its stream was reset."""
        self._running += 1
        task.add_done_callback(self._call_ended)

    def _call_ended(self, _: asyncio.Task[None]) -> None:
        self._running -= 1

    def retire(self) -> None:
        """Let the client send no more calls; the connection closes when the last one has ended.

        RFC 9113, 6.8: what it has sent before it heard of it is still taken. That all of that is
        here is known when a ping that follows the news comes back.
        """
        self.write(goaway_frame(MAX_WINDOW, ErrorCode.NO_ERROR) + frame(Kind.PING, 0, 0, _STOPPING))
        asyncio.get_running_loop().call_later(TOLD_WITHIN_S, self.ping_answered, _STOPPING)

    def ping_answered(self, payload: bytes) -> None:
        """See Connection.ping_answered."""
        if payload == _STOPPING and not self.told.done():
            self.told.set_result(None)
            self._retiring = True
            self.write(goaway_frame(self._last_stream, ErrorCode.NO_ERROR))
            self.stream_forgotten()

    def stream_forgotten(self) -> None:
        """See Connection.stream_forgotten."""
        if self._retiring and not self.streams and self.lost is None:
            self.close()
