"""Chunks of a stream, put together to messages."""

import gzip
import tracemalloc
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.messages import (
    PREFIX,
    BadMessageError,
    Compressed,
    MessageReader,
    MessageTooLargeError,
    prefix,
)
from tests.common.http2.pieces import cut
from tests.repeatable import repeatable

MAX = 5_000
COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}
contents = st.one_of(st.binary(max_size=20), st.integers(0, MAX).map(lambda size: b"m" * size))


def opened(reader: MessageReader, messages: list[bytes]) -> list[bytes]:
    """The messages as they are read."""
    return [
        reader.opened(message) if isinstance(message, Compressed) else message
        for message in messages
    ]


def squeezed(body: bytes) -> bytes:
    """A message with the mark of one that is compressed."""
    return PREFIX.pack(1, len(body)) + body


@repeatable
@given(
    st.sampled_from(["identity", *COMPRESS]),
    st.lists(st.tuples(contents, st.booleans()), max_size=5),
    st.data(),
)
def test_messages_are_the_same_however_they_come(
    encoding: str, sent: list[tuple[bytes, bool]], data: st.DataObject
) -> None:
    wire = b""
    for content, compressed in sent:
        if compressed and encoding != "identity":
            wire += squeezed(COMPRESS[encoding](content))
        else:
            wire += prefix(len(content)) + content
    reader = MessageReader(MAX, encoding)
    received: list[bytes] = []
    for chunk in cut(wire, data):
        received += opened(reader, reader.feed(memoryview(chunk)))
    assert received == [content for content, _ in sent]
    assert not reader.torn


@repeatable
@given(contents, st.integers(min_value=1))
def test_a_message_that_is_cut_off_is_torn(content: bytes, missing: int) -> None:
    wire = prefix(len(content)) + content
    reader = MessageReader(MAX)
    part = wire[: -1 - missing % len(wire)]
    assert reader.feed(part) == []
    assert reader.torn is bool(part)


def test_the_length_alone_can_be_too_much() -> None:
    reader = MessageReader(MAX)
    assert reader.feed(prefix(MAX)) == []
    with pytest.raises(MessageTooLargeError):
        MessageReader(MAX).feed(prefix(MAX + 1))


@pytest.mark.parametrize("encoding", COMPRESS)
def test_what_a_message_becomes_is_limited(encoding: str) -> None:
    reader = MessageReader(MAX, encoding)
    (fits,) = reader.feed(squeezed(COMPRESS[encoding](b"\0" * MAX)))
    assert opened(reader, [fits]) == [b"\0" * MAX]
    (bomb,) = reader.feed(squeezed(COMPRESS[encoding](b"\0" * (MAX + 1))))
    with pytest.raises(MessageTooLargeError):
        opened(reader, [bomb])


@pytest.mark.parametrize("encoding", COMPRESS)
def test_a_bomb_takes_no_memory(encoding: str) -> None:
    bomb = squeezed(COMPRESS[encoding](b"\0" * 50_000_000))
    reader = MessageReader(100_000, encoding)
    tracemalloc.start()
    try:
        (message,) = reader.feed(bomb)
        with pytest.raises(MessageTooLargeError):
            opened(reader, [message])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.parametrize("encoding", COMPRESS)
@pytest.mark.parametrize("spoil", [lambda body: body[:-1], lambda body: b"?" + body, lambda _: b""])
def test_a_spoilt_message_is_found_out(encoding: str, spoil: Callable[[bytes], bytes]) -> None:
    reader = MessageReader(MAX, encoding)
    (message,) = reader.feed(squeezed(spoil(COMPRESS[encoding](b"content"))))
    with pytest.raises(BadMessageError):
        opened(reader, [message])


@pytest.mark.parametrize("encoding", ["identity", "snappy"])
def test_a_compression_must_have_been_announced(encoding: str) -> None:
    with pytest.raises(BadMessageError):
        MessageReader(MAX, encoding).feed(squeezed(gzip.compress(b"content")))


def test_many_small_chunks_take_little_more_than_their_bytes() -> None:
    size = 200_000
    reader = MessageReader(size)
    reader.feed(prefix(size))
    tracemalloc.start()
    try:
        for _ in range(size // 2 - 1):
            assert reader.feed(bytes((1, 2))) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2 * size
    assert reader.feed(b"\1\2") == [b"\1\2" * (size // 2)]
