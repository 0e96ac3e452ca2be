"""What frames and requests must look like."""

import struct

import pytest

from services.common.http2.frames import ErrorCode, Flag, Frame, Kind, ProtocolError, Setting
from services.common.http2.headers import Header
from services.common.http2.rules import check_frame, checked_settings, request_fault

REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/service/Method"),
    (b":authority", b"here"),
    (b"te", b"trailers"),
    (b"x", b"y"),
]


def settings(*pairs: tuple[int, int]) -> bytes:
    """The payload of a SETTINGS frame."""
    return b"".join(struct.pack(">HL", *pair) for pair in pairs)


@pytest.mark.parametrize(
    "each",
    [
        Frame(Kind.PING, 0, 0, b"8" * 8),
        Frame(Kind.SETTINGS, Flag.ACK, 0, b""),
        Frame(Kind.SETTINGS, 0, 0, b"6" * 6),
        Frame(Kind.GOAWAY, 0, 0, b"8" * 8),
        Frame(Kind.WINDOW_UPDATE, 0, 0, b"4444"),
        Frame(Kind.WINDOW_UPDATE, 0, 1, b"4444"),
        Frame(Kind.RST_STREAM, 0, 1, b"4444"),
        Frame(Kind.PRIORITY, 0, 1, b"55555"),
        Frame(99, 255, 5, b"whatever"),
    ],
)
def test_sound_frames_pass(each: Frame) -> None:
    check_frame(each)


@pytest.mark.parametrize(
    "each",
    [
        Frame(Kind.PING, 0, 0, b"7777777"),
        Frame(Kind.SETTINGS, Flag.ACK, 0, b"666666"),
        Frame(Kind.GOAWAY, 0, 0, b"7777777"),
        Frame(Kind.WINDOW_UPDATE, 0, 0, b"333"),
        Frame(Kind.RST_STREAM, 0, 1, b"333"),
        Frame(Kind.PRIORITY, 0, 1, b"4444"),
    ],
)
def test_a_frame_has_its_size(each: Frame) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_frame(each)
    assert raised.value.code is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize(
    "each",
    [
        Frame(Kind.DATA, 0, 0, b""),
        Frame(Kind.HEADERS, 0, 0, b""),
        Frame(Kind.CONTINUATION, 0, 0, b""),
        Frame(Kind.PRIORITY, 0, 0, b"55555"),
        Frame(Kind.RST_STREAM, 0, 0, b"4444"),
        Frame(Kind.PING, 0, 1, b"8" * 8),
        Frame(Kind.SETTINGS, 0, 1, b""),
        Frame(Kind.GOAWAY, 0, 1, b"8" * 8),
    ],
)
def test_a_frame_is_on_its_stream(each: Frame) -> None:
    with pytest.raises(ProtocolError) as raised:
        check_frame(each)
    assert raised.value.code is ErrorCode.PROTOCOL_ERROR


def test_the_last_of_each_setting_counts() -> None:
    payload = settings((Setting.INITIAL_WINDOW_SIZE, 1), (77, 7), (Setting.INITIAL_WINDOW_SIZE, 2))
    assert checked_settings(payload) == {Setting.INITIAL_WINDOW_SIZE: 2, 77: 7}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (settings((Setting.ENABLE_PUSH, 2)), ErrorCode.PROTOCOL_ERROR),
        (settings((Setting.INITIAL_WINDOW_SIZE, 2**31)), ErrorCode.FLOW_CONTROL_ERROR),
        (settings((Setting.MAX_FRAME_SIZE, 16_383)), ErrorCode.PROTOCOL_ERROR),
        (settings((Setting.MAX_FRAME_SIZE, 2**24)), ErrorCode.PROTOCOL_ERROR),
        (settings((Setting.ENABLE_PUSH, 0))[:-1], ErrorCode.FRAME_SIZE_ERROR),
    ],
)
def test_settings_have_their_ranges(payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(ProtocolError) as raised:
        checked_settings(payload)
    assert raised.value.code is code


def test_a_sound_request_has_no_fault() -> None:
    assert request_fault(REQUEST) == ""


@pytest.mark.parametrize("missing", [b":method", b":scheme", b":path"])
def test_a_request_says_what_it_wants(missing: bytes) -> None:
    assert request_fault([header for header in REQUEST if header[0] != missing])


@pytest.mark.parametrize(
    "more",
    [
        (b":path", b"/again"),
        (b":status", b"200"),
        (b":unknown", b""),
        (b"Upper", b""),
        (b"", b""),
        (b"connection", b"close"),
        (b"transfer-encoding", b"chunked"),
        (b"te", b"gzip"),
        (b"x", b"a\r\nb"),
        (b"x", b"a\0b"),
    ],
)
def test_some_headers_have_no_place_in_a_request(more: Header) -> None:
    assert request_fault([*REQUEST[:3], more])
    assert request_fault([*REQUEST, more])


def test_an_empty_path_is_none() -> None:
    assert request_fault([(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"")])
