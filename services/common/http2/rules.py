"""What a frame or a request must look like, whatever came before it (RFC 9113). Pure."""

from typing import Final

from services.common.http2.frames import (
    DEFAULT_MAX_FRAME,
    MAX_WINDOW,
    PRIORITY_BYTES,
    ErrorCode,
    Flag,
    Frame,
    Kind,
    ProtocolError,
    Setting,
    read_settings,
)
from services.common.http2.headers import Header

_GOAWAY_BYTES: Final = 8
_RULES: Final[dict[int, tuple[bool | None, int | None]]] = {
    Kind.DATA: (False, None),
    Kind.HEADERS: (False, None),
    Kind.PRIORITY: (False, PRIORITY_BYTES),
    Kind.RST_STREAM: (False, 4),
    Kind.SETTINGS: (True, None),
    Kind.PUSH_PROMISE: (False, None),
    Kind.PING: (True, 8),
    Kind.GOAWAY: (True, None),
    Kind.WINDOW_UPDATE: (None, 4),
    Kind.CONTINUATION: (False, None),
}
"""Type → whether it is of the connection and no stream's (None: either), and its size."""

_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED: Final = (b":method", b":scheme", b":path")
_FORBIDDEN: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


def check_frame(each: Frame) -> None:
    """Raise ProtocolError for a frame of the wrong size or on the wrong stream."""
    of_connection, size = _RULES.get(each.kind, (None, None))
    if of_connection is not None and (each.stream_id == 0) is not of_connection:
        raise ProtocolError(f"a frame of type {each.kind} on stream {each.stream_id}")
    length = len(each.payload)
    if (
        (size is not None and length != size)
        or (each.kind == Kind.SETTINGS and each.flags & Flag.ACK and length)
        or (each.kind == Kind.GOAWAY and length < _GOAWAY_BYTES)
    ):
        text = f"a frame of type {each.kind} of {length} bytes"
        raise ProtocolError(text, ErrorCode.FRAME_SIZE_ERROR)


def checked_settings(payload: bytes | memoryview) -> dict[int, int]:
    """Return the settings of a frame, the last of each; raises ProtocolError."""
    settings: dict[int, int] = {}
    for key, value in read_settings(payload):
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ProtocolError("neither push nor no push")
        if key == Setting.INITIAL_WINDOW_SIZE and value > MAX_WINDOW:
            raise ProtocolError("a window out of range", ErrorCode.FLOW_CONTROL_ERROR)
        if key == Setting.MAX_FRAME_SIZE and not DEFAULT_MAX_FRAME <= value < 1 << 24:
            raise ProtocolError("a frame size out of range")
        settings[key] = value
    return settings


def request_fault(headers: list[Header]) -> str:
    """Return what makes the headers of a request malformed (sections 8.2 and 8.3); "" if nothing.

    The rules that keep requests apart on their way through proxies; what gRPC asks for besides
    is answered by a status.
    """
    seen: set[bytes] = set()
    regular = False
    for name, value in headers:
        if name[:1] == b":":
            if regular or name in seen or name not in _PSEUDO:
                return f"the pseudo-header {name!r} is unknown, repeated or late"
            seen.add(name)
            continue
        regular = True
        if not name or name != name.lower() or name in _FORBIDDEN:
            return f"the header {name!r} is not allowed"
        if name == b"te" and value != b"trailers":
            return "te is not trailers"
        if b"\0" in value or b"\n" in value or b"\r" in value:
            return f"the header {name!r} is of more than one line"
    if not seen.issuperset(_REQUIRED) or (b":path", b"") in headers:
        return "a request without its method, scheme or path"
    return ""
