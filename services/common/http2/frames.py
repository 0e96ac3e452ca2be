"""Frames of HTTP/2 (RFC 9113, sections 4 and 6). Pure."""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends first."""
HEADER_BYTES: Final = 9
PRIORITY_BYTES: Final = 5
MAX_CONTROL_BYTES: Final = 16_384
"""The largest frame that is no data: nobody may send a larger one unless we allow it."""
DEFAULT_WINDOW: Final = 65_535
DEFAULT_MAX_FRAME: Final = 16_384
MAX_WINDOW: Final = 2**31 - 1
VIEW_FROM: Final = 8192
"""Larger pieces of data are handed on without a copy,"""
VIEW_SHARE: Final = 4
"""if they are at least such a part of what came: a view keeps the whole of it."""
MAX_REASON_BYTES: Final = 256
"""Of what a GOAWAY frame says for people."""

Chunk: TypeAlias = bytes | memoryview


class Kind(IntEnum):
    """Types of frames."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Flag(IntEnum):
    """Flags; which one a bit means depends on the type of the frame."""

    END_STREAM = 0x1
    ACK = 0x1
    END_HEADERS = 0x4
    PADDED = 0x8
    PRIORITY = 0x20


class Setting(IntEnum):
    """Settings that matter to gRPC."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(IntEnum):
    """Why a stream or a connection ended."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class ProtocolError(Exception):
    """The peer broke the protocol; the connection is of no use any more."""

    def __init__(self, message: str, code: ErrorCode = ErrorCode.PROTOCOL_ERROR) -> None:
        super().__init__(message)
        self.code = code


class Frame(NamedTuple):
    """One frame, or a piece of a data frame (then the last piece has its flags)."""

    kind: int
    flags: int
    stream_id: int
    payload: Chunk


_HEADER: Final = struct.Struct(">BHBBL")  # length (24 bits), type, flags, stream
_SETTING: Final = struct.Struct(">HL")
_WORD: Final = struct.Struct(">L")
_DATA: Final = int(Kind.DATA)
_PADDED: Final = int(Flag.PADDED)


class FrameReader:
    """Cuts what comes in from a connection into frames.

    Data frames are handed on in the pieces in which they come, so that a large message is never
    held twice; all other frames are handed on whole.
    """

    def __init__(self, max_data_bytes: int) -> None:
        """`max_data_bytes`: the largest data frame, as it was announced to the peer."""
        self._max_data_bytes = max_data_bytes
        self._rest: list[bytes] = []
        """What came of a frame that is not complete; joined once, when it is."""
        self._rest_bytes = 0
        self._wanted = HEADER_BYTES
        """Bytes of it from which on there is something to do."""
        self._open: tuple[int, int] = (0, 0)
        """Flags and stream of the data frame of which `_missing` bytes are still to come."""
        self._missing = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that are complete now; raises ProtocolError."""
        if self._rest:
            self._rest.append(data)
            self._rest_bytes += len(data)
            if self._rest_bytes < self._wanted:
                return []
            data, self._rest = b"".join(self._rest), []
        frames: list[Frame] = []
        at, end = 0, len(data)
        while at < end:
            if self._missing:
                at = self._piece(data, at, end, frames)
                continue
            if end - at < HEADER_BYTES:
                self._wanted = HEADER_BYTES
                break
            high, low, kind, flags, stream_id = _HEADER.unpack_from(data, at)
            length, stream_id = high << 16 | low, stream_id & MAX_WINDOW
            whole = kind != _DATA or flags & _PADDED or not length
            self._check(kind, length)
            if not whole:
                at += HEADER_BYTES
                self._missing, self._open = length, (flags, stream_id)
                if at == end:
                    break
                continue
            after = at + HEADER_BYTES + length
            if after > end:
                self._wanted = HEADER_BYTES + length
                break
            frames.append(Frame(kind, flags, stream_id, data[at + HEADER_BYTES : after]))
            at = after
        if at < end:
            self._rest, self._rest_bytes = [data[at:]], end - at
        return frames

    def _piece(self, data: bytes, at: int, end: int, frames: list[Frame]) -> int:
        size = min(self._missing, end - at)
        self._missing -= size
        flags, stream_id = self._open
        if self._missing:
            flags = 0
        view = size >= VIEW_FROM and size * VIEW_SHARE >= len(data)
        whole: Chunk = memoryview(data) if view else data
        frames.append(Frame(_DATA, flags, stream_id, whole[at : at + size]))
        return at + size

    def _check(self, kind: int, length: int) -> None:
        limit = self._max_data_bytes if kind == _DATA else MAX_CONTROL_BYTES
        if length > limit:
            raise ProtocolError(
                f"a frame of {length} bytes; at most {limit} are allowed",
                ErrorCode.FRAME_SIZE_ERROR,
            )


def frame_header(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """Return the header of a frame."""
    return _HEADER.pack(length >> 16, length & 0xFFFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    return frame_header(kind, flags, stream_id, len(payload)) + payload


def settings_frame(settings: Mapping[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(_SETTING.pack(key, value) for key, value in settings.items())
    return frame(Kind.SETTINGS, 0, 0, payload)


def header_frames(flags: int, stream_id: int, block: bytes) -> bytes:
    """Return a header block as one frame, or as several when it is longer than any peer takes."""
    if len(block) <= DEFAULT_MAX_FRAME:
        return frame(Kind.HEADERS, flags | Flag.END_HEADERS, stream_id, block)
    pieces = [block[at : at + DEFAULT_MAX_FRAME] for at in range(0, len(block), DEFAULT_MAX_FRAME)]
    frames = [frame(Kind.HEADERS, flags & ~Flag.END_HEADERS, stream_id, pieces[0])]
    frames += [frame(Kind.CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    frames.append(frame(Kind.CONTINUATION, Flag.END_HEADERS, stream_id, pieces[-1]))
    return b"".join(frames)


def read_settings(payload: Chunk) -> Iterator[tuple[int, int]]:
    """Yield the settings of a frame."""
    if len(payload) % _SETTING.size:
        raise ProtocolError("a torn SETTINGS frame", ErrorCode.FRAME_SIZE_ERROR)
    yield from _SETTING.iter_unpack(payload)


def word_frame(kind: Kind, stream_id: int, value: int) -> bytes:
    """Return a frame whose payload is one number: RST_STREAM, WINDOW_UPDATE."""
    return frame(kind, 0, stream_id, _WORD.pack(value))


def read_word(payload: Chunk) -> int:
    """Return the number that is a payload."""
    if len(payload) != _WORD.size:
        raise ProtocolError("a frame of the wrong size", ErrorCode.FRAME_SIZE_ERROR)
    value: int = _WORD.unpack(payload)[0]
    return value


def goaway_frame(last_stream: int, code: ErrorCode, reason: str = "") -> bytes:
    """Return a GOAWAY frame: no stream after `last_stream` is taken."""
    text = reason.encode("ascii", "replace")[:MAX_REASON_BYTES]
    payload = _WORD.pack(last_stream) + _WORD.pack(code) + text
    return frame(Kind.GOAWAY, 0, 0, payload)


def without_padding(frame: Frame) -> bytes:
    """Return the payload of a DATA or HEADERS frame without padding and priority."""
    payload = bytes(frame.payload)
    pad = 0
    if frame.flags & Flag.PADDED:
        if not payload:
            raise ProtocolError("a padded frame without its padding")
        pad, payload = payload[0], payload[1:]
    if frame.kind == Kind.HEADERS and frame.flags & Flag.PRIORITY:
        if len(payload) < PRIORITY_BYTES:
            raise ProtocolError("a torn priority", ErrorCode.FRAME_SIZE_ERROR)
        payload = payload[PRIORITY_BYTES:]
    if pad > len(payload):
        raise ProtocolError("more padding than frame")
    return payload[: len(payload) - pad]
