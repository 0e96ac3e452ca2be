"""One socket: what is written to it, how its peer is held in check, and its end."""

import asyncio
from collections.abc import Iterable
from typing import Final, cast

import grpc

from services.common.http2.frames import Chunk, ErrorCode, ProtocolError, goaway_frame
from services.common.http2.stream import COPY_UP_TO, StreamFailedError
from services.common.http2.watch import Watch

WRITE_HIGH: Final = 1 << 20
"""From so many bytes in the socket's queue on, `drain` waits."""
WRITE_AT_ONCE: Final = 1 << 18
"""So many bytes do not wait for more; only the socket's queue can tell that the peer is slow."""
MAX_OWED_ANSWERS: Final = 1_000
"""Frames that ask for an answer while the peer reads none."""
CLOSE_WITHIN_S: Final = 5.0
"""A peer that has not read the last bytes by then does not get them."""


class Wire(asyncio.Protocol):
    """Bytes in and out. What they mean is the matter of Connection."""

    lingers = False
    """Let the peer close the socket first. Where something of it still comes in when a socket is
    closed, its kernel throws away what the peer has not read yet: the last responses."""

    def __init__(self) -> None:
        self.write_paused = False
        self.heard = False
        """Something came in since this was last set to False."""
        self.lost: StreamFailedError | None = None
        """Why the connection has ended."""
        self.received_bytes = 0
        self.sent_bytes = 0
        """Handed to the socket; all frames count, not what TLS makes of them."""
        self.settings_taken = 0
        """SETTINGS frames since the watch last looked."""
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[Chunk] = []
        """What leaves when the event loop comes round."""
        self._outgoing_bytes = 0
        self._watch: Watch | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._owed_answers = 0
        self._writable = asyncio.Event()
        self._writable.set()

    # What others do in their own way.

    def frames_received(self, data: bytes) -> None:
        """Take in bytes of frames; raises ProtocolError."""

    def opening(self) -> bytes:
        """Return what this end says first."""
        return b""

    def patience(self) -> tuple[float, float]:
        """Return the seconds of silence that are tried by a ping, and those for its answer."""
        raise NotImplementedError

    @property
    def last_stream(self) -> int:
        """The last stream of the peer that was taken."""
        return 0

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this end allows."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.write(self.opening())
        self._watch = Watch(self, *self.patience())

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        if self.lost is not None:
            return
        self.heard = True
        self.received_bytes += len(data)
        try:
            self.frames_received(data)
        except ProtocolError as error:
            self.close(error.code, str(error))

    def pause_writing(self) -> None:
        """The socket's queue is full."""
        if self.lost is None:
            self.write_paused = True
            self._writable.clear()

    def resume_writing(self) -> None:
        """The socket's queue has room again."""
        self.write_paused = False
        self._owed_answers = 0
        self._writable.set()

    def eof_received(self) -> bool:
        """The peer sends no more: the connection is over. The transport closes itself."""
        if self._transport is not None and self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(CLOSE_WITHIN_S, self._transport.abort)
        self.end("the peer closed the connection")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was under way."""
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None
        self.end(f"the connection was lost: {exc}" if exc else "the connection was closed")

    # Writing.

    def write(self, data: Chunk) -> None:
        """Write bytes of whole frames.

        They leave together with what else is written before the event loop comes round: a system
        call, which also wakes up the peer, costs more than a message.
        """
        if self._transport is not None and self.lost is None:
            if not self._outgoing:
                self._loop.call_soon(self._write_out)
            self._outgoing.append(data)
            self._outgoing_bytes += len(data)
            if self._outgoing_bytes > WRITE_AT_ONCE:
                self._write_out()

    def write_all(self, chunks: Iterable[Chunk]) -> None:
        """Write pieces without joining them."""
        for chunk in chunks:
            self.write(chunk)

    def _write_out(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        size, self._outgoing_bytes = self._outgoing_bytes, 0
        if self._transport is None or not outgoing:
            return
        self.sent_bytes += size
        if len(outgoing) == 1:
            self._transport.write(outgoing[0])
        elif size <= COPY_UP_TO:
            self._transport.write(b"".join(outgoing))
        else:
            self._transport.writelines(outgoing)

    def answer(self, data: bytes) -> None:
        """Write what the peer made necessary by a frame of its own."""
        self.owe()
        self.write(data)

    def owe(self) -> None:
        """Count an answer; a peer that asks on and on and reads nothing is cut off."""
        if self.write_paused:
            self._owed_answers += 1
            if self._owed_answers > MAX_OWED_ANSWERS:
                self.abort("the peer asks and does not read")

    async def writable(self) -> None:
        """Wait until the socket's queue has room."""
        await self._writable.wait()

    # The end.

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """End the connection and all its streams, once the peer has read what waits for it.

        Idempotent.
        """
        if self.lost is None:
            self.write(goaway_frame(self.last_stream, code, reason))
            self._write_out()
            self._let_go()
        self.end(reason or "the connection was closed")

    def abort(self, reason: str) -> None:
        """End the connection without a word: nobody listens."""
        if self._transport is not None:
            self._transport.abort()
        self.end(reason)

    def end(self, reason: str) -> None:
        """Nothing comes or goes any more. Idempotent."""
        self._outgoing.clear()
        self._outgoing_bytes = 0
        if self.lost is None:
            self.lost = StreamFailedError(grpc.StatusCode.UNAVAILABLE, reason)
        if self._watch is not None:
            self._watch.stop()
        self.write_paused = False
        self._writable.set()

    def _let_go(self) -> None:
        """Close the socket, with what it has still to send, or at last without that."""
        transport = self._transport
        if transport is None or self._closing is not None:
            return
        loop = asyncio.get_running_loop()
        self._closing = loop.call_later(CLOSE_WITHIN_S, transport.abort)
        if not self.lingers or not transport.can_write_eof():
            transport.close()
        elif not transport.is_closing():
            try:
                transport.write_eof()
            except OSError:  # the peer has gone
                transport.abort()
