"""The bytes of a connection, cut into frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.frames import (
    DEFAULT_MAX_FRAME,
    MAX_CONTROL_BYTES,
    MAX_REASON_BYTES,
    VIEW_FROM,
    ErrorCode,
    Flag,
    Frame,
    FrameReader,
    Kind,
    ProtocolError,
    frame,
    frame_header,
    goaway_frame,
    header_frames,
    without_padding,
)
from tests.common.http2.pieces import cut
from tests.repeatable import repeatable

MAX_DATA = 40_000
STREAM = 7

streams = st.integers(0, 2**31 - 1)
kinds = st.one_of(st.just(int(Kind.DATA)), st.integers(0, 255))
flags = st.integers(0, 255)
payloads = st.one_of(
    st.binary(max_size=40), st.integers(0, MAX_CONTROL_BYTES).map(lambda size: b"\x5a" * size)
)
frames = st.lists(st.tuples(kinds, flags, streams, payloads), max_size=6)


@repeatable
@given(frames, st.data())
def test_frames_are_the_same_however_they_come(
    sent: list[tuple[int, int, int, bytes]], data: st.DataObject
) -> None:
    wire = b"".join(frame(*each) for each in sent)
    reader = FrameReader(MAX_DATA)
    left = list(sent)
    gathered = b""
    for chunk in cut(wire, data):
        for each in reader.feed(chunk):
            kind, flag, stream_id, payload = left[0]
            assert (each.kind, each.stream_id) == (kind, stream_id)
            gathered += bytes(each.payload)
            if len(gathered) == len(payload):
                assert each.flags == flag
                assert gathered == payload
                left.pop(0)
                gathered = b""
            else:
                # A piece: only data comes in some, and only the last one has the flags.
                assert kind == Kind.DATA
                assert not each.flags
    assert left == []


@pytest.mark.parametrize("size", [MAX_DATA, MAX_DATA + 1])
def test_a_data_frame_has_a_limit(size: int) -> None:
    header = frame_header(Kind.DATA, 0, STREAM, size)
    if size <= MAX_DATA:
        assert FrameReader(MAX_DATA).feed(header) == []
        return
    with pytest.raises(ProtocolError) as raised:
        FrameReader(MAX_DATA).feed(header)
    assert raised.value.code is ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize("kind", [each for each in Kind if each is not Kind.DATA])
def test_all_other_frames_have_a_smaller_one(kind: Kind) -> None:
    assert FrameReader(MAX_DATA).feed(frame_header(kind, 0, STREAM, MAX_CONTROL_BYTES)) == []
    with pytest.raises(ProtocolError):
        FrameReader(MAX_DATA).feed(frame_header(kind, 0, STREAM, MAX_CONTROL_BYTES + 1))


@pytest.mark.parametrize("share", [1, 100])
def test_a_small_part_of_what_came_does_not_keep_the_whole(share: int) -> None:
    piece = frame(Kind.DATA, 0, STREAM, b"a" * VIEW_FROM)
    read = FrameReader(MAX_DATA).feed(piece * share)
    assert len(read) == share
    assert all(isinstance(each.payload, memoryview) is (share == 1) for each in read)


@given(st.binary(max_size=50), st.integers(0, 255))
@repeatable
def test_padding_and_priority_are_taken_off(block: bytes, pad: int) -> None:
    payload = bytes([pad]) + b"prior" + block + b"\0" * pad
    headers = Frame(Kind.HEADERS, Flag.PADDED | Flag.PRIORITY, STREAM, payload)
    assert without_padding(headers) == block
    data = Frame(Kind.DATA, Flag.PADDED, STREAM, bytes([pad]) + block + b"\0" * pad)
    assert without_padding(data) == block


@pytest.mark.parametrize(
    ("flag", "payload"),
    [(Flag.PADDED, b""), (Flag.PADDED, b"\x01"), (Flag.PRIORITY, b"four")],
)
def test_there_is_no_more_padding_than_frame(flag: Flag, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        without_padding(Frame(Kind.HEADERS, flag, STREAM, payload))


@repeatable
@given(st.integers(0, 4 * DEFAULT_MAX_FRAME))
def test_a_long_header_block_goes_on_in_more_frames(size: int) -> None:
    block = bytes(index % 251 for index in range(size))
    read = FrameReader(MAX_DATA).feed(header_frames(Flag.END_STREAM, STREAM, block))
    assert b"".join(bytes(each.payload) for each in read) == block
    assert [each.kind for each in read[1:]] == [Kind.CONTINUATION] * (len(read) - 1)
    assert read[0].kind == Kind.HEADERS
    assert read[0].flags & Flag.END_STREAM
    assert [bool(each.flags & Flag.END_HEADERS) for each in read] == [
        *([False] * (len(read) - 1)),
        True,
    ]


def test_a_long_reason_is_cut() -> None:
    (read,) = FrameReader(MAX_DATA).feed(goaway_frame(1, ErrorCode.NO_ERROR, "é" * 100_000))
    assert len(read.payload) == 8 + MAX_REASON_BYTES
