"""One connection with its streams. What both ends share."""

from collections.abc import Callable
from typing import Final

import grpc

from services.common.http2.frames import (
    DEFAULT_MAX_FRAME,
    DEFAULT_WINDOW,
    MAX_WINDOW,
    ErrorCode,
    Flag,
    Frame,
    FrameReader,
    Kind,
    ProtocolError,
    Setting,
    frame,
    read_word,
    settings_frame,
    without_padding,
    word_frame,
)
from services.common.http2.headers import MAX_LIST_BYTES, Header, HeaderReader
from services.common.http2.rules import check_frame, checked_settings
from services.common.http2.stream import WINDOW, Stream, StreamFailedError
from services.common.http2.wire import Wire

CONNECTION_WINDOW: Final = 16 << 20
"""Bytes that a peer may send on all streams together before they are taken in here."""
MAX_FRAME: Final = 1 << 20
"""The largest data frame that a peer may send: fewer frames for large messages."""
MAX_BLOCK_BYTES: Final = 32_768
"""The largest header block, all its frames together,"""
MAX_BLOCK_FRAMES: Final = 32
"""and so many may it have."""
MAX_SETTINGS: Final = 500
"""SETTINGS frames of a peer in the time in which the watch looks once: each costs something for
every stream."""
RESETS_KEPT: Final = 1_024
"""Streams that this end has reset and on which something may still be under way."""

_DATA: Final = int(Kind.DATA)
_HEADERS: Final = int(Kind.HEADERS)
_SETTINGS: Final = int(Kind.SETTINGS)
_END_STREAM: Final = int(Flag.END_STREAM)
_PADDED: Final = int(Flag.PADDED)


class Connection(Wire):
    """Frames ⇄ streams, and the flow control of the whole connection."""

    def __init__(self) -> None:
        super().__init__()
        self.streams: dict[int, Stream] = {}
        self.send_window = DEFAULT_WINDOW
        """Bytes that may be sent on all streams together."""
        self.peer_window = DEFAULT_WINDOW
        """Bytes that may be sent on a new stream."""
        self.peer_max_frame = DEFAULT_MAX_FRAME
        self.peer_max_streams = MAX_WINDOW
        self.going_away = False
        """The peer takes no new streams."""
        self.settings_seen = False
        self._reader = FrameReader(MAX_FRAME)
        self._headers = HeaderReader()
        self._block: tuple[int, int, list[bytes]] | None = None
        """Stream, flags and first pieces of a header block that goes on."""
        self._uncredited = 0
        self._blocked: dict[Stream, None] = {}
        """Streams that wait for the window of the connection, first come first."""
        self._resets: dict[int, None] = {}
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

    def own_settings(self) -> dict[Setting, int]:
        """Return settings of this end that the other end does not have."""
        return {}

    def headers_for_new_stream(self, stream_id: int, headers: list[Header]) -> None:
        """Headers came for a stream that is not open."""

    def stream_forgotten(self) -> None:
        """A stream has ended."""

    def settings_received(self) -> None:
        """The peer's settings are known."""

    def opened_here(self, stream_id: int) -> bool:
        """Tell whether this end opened the stream."""
        return False

    def ping_answered(self, payload: bytes) -> None:
        """A ping of this end came back."""

    def idle(self, stream_id: int) -> bool:
        """Tell whether no such stream was opened yet."""
        raise NotImplementedError

    # Wire.

    def opening(self) -> bytes:
        """See Wire.opening."""
        settings = {
            Setting.ENABLE_PUSH: 0,
            Setting.INITIAL_WINDOW_SIZE: WINDOW,
            Setting.MAX_FRAME_SIZE: MAX_FRAME,
            Setting.MAX_HEADER_LIST_SIZE: MAX_LIST_BYTES,
            **self.own_settings(),
        }
        credit = word_frame(Kind.WINDOW_UPDATE, 0, CONNECTION_WINDOW - DEFAULT_WINDOW)
        return settings_frame(settings) + credit

    def frames_received(self, data: bytes) -> None:
        """See Wire.frames_received."""
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
                    self._stray(each.stream_id)
            else:
                self._control(each)
        if taken:
            self._taken(taken)

    def end(self, reason: str) -> None:
        """See Wire.end; all streams fail."""
        super().end(reason)
        if self.lost is not None:
            for stream in list(self.streams.values()):
                stream.fail(self.lost, None)

    # For streams.

    def blocked(self, stream: Stream) -> None:
        """The stream waits for the window of the connection."""
        self._blocked[stream] = None

    def forget(self, stream: Stream) -> None:
        """The stream has ended. Idempotent."""
        self._blocked.pop(stream, None)
        if self.streams.pop(stream.stream_id, None) is not None:
            self.stream_forgotten()

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """Tell the peer that the stream has ended; what it has sent by then is dropped."""
        self._resets[stream_id] = None
        if len(self._resets) > RESETS_KEPT:
            del self._resets[next(iter(self._resets))]
        self.write(word_frame(Kind.RST_STREAM, stream_id, code))

    def was_reset(self, stream_id: int) -> bool:
        """Tell whether this end has reset the stream not long ago."""
        return stream_id in self._resets

    # Frames.

    def _control(self, each: Frame) -> None:
        if self.lost is not None:
            return
        if self._block is not None and each.kind != Kind.CONTINUATION:
            raise ProtocolError("a header block was interrupted")
        if not self.settings_seen and each.kind != _SETTINGS:
            raise ProtocolError("the first frame is no SETTINGS")
        if each.kind != _HEADERS:  # there is nothing to it
            check_frame(each)
        if (handle := self._on_frame.get(each.kind)) is not None:  # others are to be ignored
            handle(each)

    def _data_frame(self, each: Frame) -> None:
        """A padded one: the padding counts for the windows."""
        stream = self.streams.get(each.stream_id)
        payload = without_padding(each)
        self._taken(len(each.payload))
        if stream is None:
            self._stray(each.stream_id)
            return
        stream.padding_received(len(each.payload) - len(payload))
        if payload and stream.failure is None:
            stream.data_received(payload)
        if each.flags & Flag.END_STREAM and stream.failure is None:
            stream.ended_by_peer()

    def _stray(self, stream_id: int) -> None:
        """Data came for a stream that is not open."""
        if self.idle(stream_id):
            raise ProtocolError("data on a stream that was never opened")
        if not self.was_reset(stream_id):
            self.reset(stream_id, ErrorCode.STREAM_CLOSED)

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
            self._block = (each.stream_id, each.flags, [block])

    def _continuation_frame(self, each: Frame) -> None:
        if self._block is None or self._block[0] != each.stream_id:
            raise ProtocolError("a header block goes on that did not begin")
        stream_id, flags, pieces = self._block
        pieces.append(bytes(each.payload))
        if len(pieces) > MAX_BLOCK_FRAMES or sum(map(len, pieces)) > MAX_BLOCK_BYTES:
            raise ProtocolError("a header block without end", ErrorCode.ENHANCE_YOUR_CALM)
        if each.flags & Flag.END_HEADERS:
            self._block = None
            self._block_ends(stream_id, flags, b"".join(pieces))

    def _block_ends(self, stream_id: int, flags: int, block: bytes) -> None:
        headers = self._headers.read(block)
        stream = self.streams.get(stream_id)
        if stream is None:
            self.headers_for_new_stream(stream_id, headers)
            stream = self.streams.get(stream_id)
        elif stream.remote_ended:
            stream.reset(ErrorCode.STREAM_CLOSED, "headers after the end")
        elif not flags & Flag.END_STREAM and not self.opened_here(stream_id):
            stream.reset(ErrorCode.PROTOCOL_ERROR, "headers in the middle of a request")
        else:
            stream.headers_received(headers)
        if stream is not None and flags & Flag.END_STREAM and stream.failure is None:
            stream.ended_by_peer()

    def _reset_frame(self, each: Frame) -> None:
        code = read_word(each.payload)
        if (stream := self.streams.get(each.stream_id)) is not None:
            stream.reset_by_peer(code)
        elif self.idle(each.stream_id):
            raise ProtocolError("the reset of a stream that was never opened")

    def _settings_frame(self, each: Frame) -> None:
        if each.flags & Flag.ACK:
            return
        self.settings_taken += 1
        if self.settings_taken > MAX_SETTINGS:
            raise ProtocolError("settings without end", ErrorCode.ENHANCE_YOUR_CALM)
        settings = checked_settings(each.payload)
        self.peer_max_frame = settings.get(Setting.MAX_FRAME_SIZE, self.peer_max_frame)
        self.peer_max_streams = settings.get(Setting.MAX_CONCURRENT_STREAMS, self.peer_max_streams)
        self.answer(frame(Kind.SETTINGS, Flag.ACK, 0))
        self._peer_window_is(settings.get(Setting.INITIAL_WINDOW_SIZE, self.peer_window))
        self.settings_seen = True
        self.settings_received()

    def _peer_window_is(self, value: int) -> None:
        change, self.peer_window = value - self.peer_window, value
        if not change:
            return
        for stream in list(self.streams.values()):
            stream.send_window += change
            if stream.send_window > MAX_WINDOW:
                raise ProtocolError("a window out of range", ErrorCode.FLOW_CONTROL_ERROR)
            stream.flush()

    def _ping_frame(self, each: Frame) -> None:
        if not each.flags & Flag.ACK:
            self.answer(frame(Kind.PING, Flag.ACK, 0, bytes(each.payload)))
        else:
            self.ping_answered(bytes(each.payload))

    def _goaway_frame(self, each: Frame) -> None:
        self.going_away = True
        last = int.from_bytes(each.payload[:4], "big") & MAX_WINDOW
        refused = StreamFailedError(grpc.StatusCode.UNAVAILABLE, "the peer is going away")
        for stream in list(self.streams.values()):
            if stream.stream_id > last and self.opened_here(stream.stream_id):
                stream.fail(refused, None)
        self.stream_forgotten()

    def _window_frame(self, each: Frame) -> None:
        credit = read_word(each.payload) & MAX_WINDOW
        if each.stream_id == 0:
            self.send_window += credit
            if not credit:
                raise ProtocolError("a window that does not grow")
            if self.send_window > MAX_WINDOW:
                raise ProtocolError("a window out of range", ErrorCode.FLOW_CONTROL_ERROR)
            self._flush_blocked()
        elif (stream := self.streams.get(each.stream_id)) is not None:
            stream.send_window += credit
            if not credit:
                stream.reset(ErrorCode.PROTOCOL_ERROR, "a window that does not grow")
            elif stream.send_window > MAX_WINDOW:
                stream.reset(ErrorCode.FLOW_CONTROL_ERROR, "a window out of range")
            else:
                stream.flush()
        elif self.idle(each.stream_id):
            raise ProtocolError("a window for a stream that was never opened")

    def _push_frame(self, each: Frame) -> None:
        raise ProtocolError("a push, which was forbidden")

    def _flush_blocked(self) -> None:
        """Let them go on in turn, as far as the window goes: a small one is no work for all."""
        while self._blocked and self.send_window > 0:
            stream = next(iter(self._blocked))
            del self._blocked[stream]
            stream.flush()
