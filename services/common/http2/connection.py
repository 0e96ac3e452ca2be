"""One socket with its streams. What both ends share."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

import grpc

from services.common.http2.frames import (
    DEFAULT_MAX_FRAME,
    DEFAULT_WINDOW,
    MAX_WINDOW,
    Chunk,
    ErrorCode,
    Flag,
    Frame,
    FrameReader,
    Kind,
    ProtocolError,
    Setting,
    frame,
    goaway_frame,
    read_settings,
    read_word,
    settings_frame,
    without_padding,
    word_frame,
)
from services.common.http2.headers import MAX_LIST_BYTES, Header, HeaderReader
from services.common.http2.stream import COPY_UP_TO, WINDOW, Stream, StreamFailedError

CONNECTION_WINDOW: Final = 16 << 20
"""Bytes that a peer may send on all streams together before they are taken in here."""
MAX_FRAME: Final = 1 << 20
"""The largest data frame that a peer may send: fewer frames for large messages."""
MAX_BLOCK_BYTES: Final = 65_536
"""The largest header block, all its frames together."""
WRITE_HIGH: Final = 1 << 20
"""From so many bytes in the socket's queue on, `drain` waits."""
MAX_OWED_ANSWERS: Final = 1_000
"""Frames that ask for an answer (PING, SETTINGS) while the peer reads none."""

_DATA: Final = int(Kind.DATA)
_END_STREAM: Final = int(Flag.END_STREAM)
_PADDED: Final = int(Flag.PADDED)


class Connection(asyncio.Protocol):
    """Frames ⇄ streams, flow control of the whole connection, and its end."""

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.send_window = DEFAULT_WINDOW
        """Bytes that may be sent on all streams together."""
        self.peer_window = DEFAULT_WINDOW
        """Bytes that may be sent on a new stream."""
        self.peer_max_frame = DEFAULT_MAX_FRAME
        self.write_paused = False
        self.heard = False
        """Something came in since this was last set to False."""
        self.lost: StreamFailedError | None = None
        """Why the connection has ended."""
        self.going_away = False
        """The peer takes no new streams."""
        self.settings_seen = False
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._outgoing: list[Chunk] = []
        self._reader = FrameReader(MAX_FRAME)
        self._headers = HeaderReader()
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and beginning of a header block that goes on."""
        self._uncredited = 0
        self._owed_answers = 0
        self._blocked: dict[Stream, None] = {}
        """Streams that wait for a window, first come first."""
        self._writable = asyncio.Event()
        self._writable.set()
        self._on_frame: dict[int, Callable[[Frame], None]] = {
            Kind.HEADERS: self._headers_frame,
            Kind.CONTINUATION: self._continuation_frame,
            Kind.RST_STREAM: self._reset_frame,
            Kind.SETTINGS: self._settings_frame,
            Kind.PING: self._ping_frame,
            Kind.GOAWAY: self._goaway_frame,
            Kind.WINDOW_UPDATE: self._window_frame,
            Kind.DATA: self._data_frame,
            Kind.PUSH_PROMISE: self._push_frame,
        }

    # What both ends do in their own way.

    def headers_for_new_stream(self, stream_id: int, headers: list[Header]) -> None:
        """Headers came for a stream that is not open."""

    def stream_forgotten(self) -> None:
        """A stream has ended."""

    def settings_received(self) -> None:
        """The peer's settings are known."""

    def ping_answered(self, payload: bytes) -> None:
        """A ping of this end came back."""

    # asyncio.Protocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say what this end allows."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self.write(
            settings_frame(
                {
                    Setting.ENABLE_PUSH: 0,
                    Setting.INITIAL_WINDOW_SIZE: WINDOW,
                    Setting.MAX_FRAME_SIZE: MAX_FRAME,
                    Setting.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
                    **self.own_settings(),
                }
            )
            + word_frame(Kind.WINDOW_UPDATE, 0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        )

    def own_settings(self) -> dict[Setting, int]:
        """Return settings of this end that the other end does not have."""
        return {}

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self.heard = True
        try:
            self.frames_received(data)
        except ProtocolError as error:
            self.close(error.code, str(error))

    def frames_received(self, data: bytes) -> None:
        """Take in bytes of frames; raises ProtocolError."""
        taken = 0
        for each in self._reader.feed(data):
            if each.kind == _DATA and not each.flags & _PADDED and self._block is None:
                size = len(each.payload)
                taken += size
                stream = self.streams.get(each.stream_id)
                if stream is not None:
                    if size:
                        stream.data_received(each.payload)
                    if each.flags & _END_STREAM and stream.failure is None:
                        stream.ended_by_peer()
            else:
                self._control(each)
        if taken:
            self._taken(taken)

    def pause_writing(self) -> None:
        """The socket's queue is full."""
        self.write_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """The socket's queue has room again."""
        self.write_paused = False
        self._owed_answers = 0
        self._writable.set()

    def eof_received(self) -> bool:
        """The peer sends no more: the connection is over."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail what was under way."""
        self.end(f"the connection was lost: {exc}" if exc else "the connection was closed")

    # For streams.

    def write(self, data: Chunk) -> None:
        """Write bytes of whole frames.

        They leave together with what else is written before the event loop comes round: a system
        call, which also wakes up the peer, costs more than a message.
        """
        if self.lost is None:
            if not self._outgoing:
                self._loop.call_soon(self._write_out)
            self._outgoing.append(data)

    def write_all(self, chunks: Iterable[Chunk]) -> None:
        """Write pieces without joining them."""
        for chunk in chunks:
            self.write(chunk)

    def _write_out(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._transport is None or not outgoing:
            return
        if len(outgoing) == 1:
            self._transport.write(outgoing[0])
        elif sum(map(len, outgoing)) <= COPY_UP_TO:
            self._transport.write(b"".join(outgoing))
        else:
            self._transport.writelines(outgoing)

    async def writable(self) -> None:
        """Wait until the socket's queue has room."""
        await self._writable.wait()

    def blocked(self, stream: Stream) -> None:
        """The stream waits for a window."""
        self._blocked[stream] = None

    def forget(self, stream: Stream) -> None:
        """The stream has ended. Idempotent."""
        self._blocked.pop(stream, None)
        if self.streams.pop(stream.stream_id, None) is not None:
            self.stream_forgotten()

    # The end.

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """End the connection and all its streams. Idempotent."""
        if self._transport is not None and self.lost is None:
            self.write(goaway_frame(self.last_stream, code, reason))
            self._write_out()
            self._transport.close()
        self.end(reason or "the connection was closed")

    def abort(self, reason: str) -> None:
        """End the connection without a word: nobody listens."""
        if self._transport is not None:
            self._transport.abort()
        self.end(reason)

    def end(self, reason: str) -> None:
        """Fail all streams. Idempotent."""
        self._outgoing.clear()
        if self.lost is None:
            self.lost = StreamFailedError(grpc.StatusCode.UNAVAILABLE, reason)
        self._writable.set()
        for stream in list(self.streams.values()):
            stream.fail(self.lost, None)

    @property
    def last_stream(self) -> int:
        """The last stream of the peer that was taken."""
        return 0

    # Frames.

    def _control(self, each: Frame) -> None:
        if self._block is not None and each.kind != Kind.CONTINUATION:
            raise ProtocolError("a header block was interrupted")
        if (handle := self._on_frame.get(each.kind)) is not None:  # others are to be ignored
            handle(each)

    def _data_frame(self, each: Frame) -> None:
        """A padded one: the padding counts for the windows."""
        stream = self.streams.get(each.stream_id)
        payload = without_padding(each)
        self._taken(len(each.payload))
        if stream is not None:
            stream.data_received(payload)
            if each.flags & Flag.END_STREAM and stream.failure is None:
                stream.ended_by_peer()

    def _taken(self, size: int) -> None:
        self._uncredited += size
        if self._uncredited > CONNECTION_WINDOW:
            raise ProtocolError("more than the window", ErrorCode.FLOW_CONTROL_ERROR)
        if self._uncredited >= CONNECTION_WINDOW // 2:
            self.write(word_frame(Kind.WINDOW_UPDATE, 0, self._uncredited))
            self._uncredited = 0

    def _headers_frame(self, each: Frame) -> None:
        block = without_padding(each)
        if each.flags & Flag.END_HEADERS:
            self._block_ends(each.stream_id, each.flags, block)
        else:
            self._block = (each.stream_id, each.flags, bytearray(block))

    def _continuation_frame(self, each: Frame) -> None:
        if self._block is None or self._block[0] != each.stream_id:
            raise ProtocolError("a header block goes on that did not begin")
        stream_id, flags, block = self._block
        block += each.payload
        if len(block) > MAX_BLOCK_BYTES:
            raise ProtocolError("a header block without end", ErrorCode.ENHANCE_YOUR_CALM)
        if each.flags & Flag.END_HEADERS:
            self._block = None
            self._block_ends(stream_id, flags, bytes(block))

    def _block_ends(self, stream_id: int, flags: int, block: bytes) -> None:
        headers = self._headers.read(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.headers_for_new_stream(stream_id, headers)
            stream = self.streams.get(stream_id)
        else:
            stream.headers_received(headers)
        if stream is not None and flags & Flag.END_STREAM and stream.failure is None:
            stream.ended_by_peer()

    def _reset_frame(self, each: Frame) -> None:
        code = read_word(each.payload)
        if (stream := self.streams.get(each.stream_id)) is not None:
            stream.reset_by_peer(code)

    def _settings_frame(self, each: Frame) -> None:
        if each.flags & Flag.ACK:
            return
        for key, value in read_settings(each.payload):
            if key == Setting.INITIAL_WINDOW_SIZE:
                self._peer_window_is(value)
            elif key == Setting.MAX_FRAME_SIZE:
                if not DEFAULT_MAX_FRAME <= value < 1 << 24:
                    raise ProtocolError("a frame size out of range")
                self.peer_max_frame = value
        self._answer(frame(Kind.SETTINGS, Flag.ACK, 0))
        if not self.settings_seen:
            self.settings_seen = True
            self.settings_received()

    def _peer_window_is(self, value: int) -> None:
        if value > MAX_WINDOW:
            raise ProtocolError("a window out of range", ErrorCode.FLOW_CONTROL_ERROR)
        change, self.peer_window = value - self.peer_window, value
        for stream in list(self.streams.values()):
            stream.send_window += change
        self._flush_blocked()

    def _ping_frame(self, each: Frame) -> None:
        if not each.flags & Flag.ACK:
            self._answer(frame(Kind.PING, Flag.ACK, 0, bytes(each.payload)))
        else:
            self.ping_answered(bytes(each.payload))

    def _goaway_frame(self, each: Frame) -> None:
        if len(each.payload) < 8:
            raise ProtocolError("a torn GOAWAY frame", ErrorCode.FRAME_SIZE_ERROR)
        self.going_away = True
        last = int.from_bytes(each.payload[:4], "big") & MAX_WINDOW
        refused = StreamFailedError(grpc.StatusCode.UNAVAILABLE, "the peer is going away")
        for stream in list(self.streams.values()):
            if stream.stream_id > last and self.opened_here(stream.stream_id):
                stream.fail(refused, None)
        self.stream_forgotten()

    def opened_here(self, stream_id: int) -> bool:
        """Tell whether this end opened the stream."""
        return False

    def _window_frame(self, each: Frame) -> None:
        credit = read_word(each.payload) & MAX_WINDOW
        if each.stream_id == 0:
            self.send_window += credit
            if self.send_window > MAX_WINDOW:
                raise ProtocolError("a window out of range", ErrorCode.FLOW_CONTROL_ERROR)
            self._flush_blocked()
        elif (stream := self.streams.get(each.stream_id)) is not None:
            stream.send_window += credit
            if stream.send_window > MAX_WINDOW:
                stream.reset(ErrorCode.FLOW_CONTROL_ERROR, "a window out of range")
            elif stream in self._blocked:
                del self._blocked[stream]
                stream.flush()

    def _push_frame(self, each: Frame) -> None:
        raise ProtocolError("a push, which was forbidden")

    def _flush_blocked(self) -> None:
        blocked, self._blocked = self._blocked, {}
        for stream in blocked:
            stream.flush()

    def _answer(self, data: bytes) -> None:
        if self.write_paused:
            self._owed_answers += 1
            if self._owed_answers > MAX_OWED_ANSWERS:
                raise ProtocolError("questions without end", ErrorCode.ENHANCE_YOUR_CALM)
        self.write(data)
