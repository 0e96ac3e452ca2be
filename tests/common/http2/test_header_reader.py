"""The memory of header blocks: right whatever happens to the table."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.frames import ErrorCode, ProtocolError
from services.common.http2.headers import MAX_LIST_BYTES, HeaderReader, header_block
from tests.repeatable import repeatable

# Few names and values, so that blocks come again; some too large for small tables.
names = st.sampled_from([b":path", b"te", b"x", b"y-long-name"])
values = st.sampled_from([b"", b"1", b"trailers", b"v" * 100, b"w" * 3_000])
steps = st.lists(
    st.one_of(
        st.integers(0, 4096),  # another size of the table
        st.lists(st.tuples(names, values, st.booleans()), min_size=1, max_size=4),
    ),
    max_size=30,
)


def decode(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]]:
    """What a decoder without memory says."""
    return [(bytes(name), bytes(value)) for name, value in decoder.decode(block, raw=True)]


@repeatable
@given(steps)
def test_blocks_mean_what_a_plain_decoder_says(
    steps: list[int | list[tuple[bytes, bytes, bool]]],
) -> None:
    encoder, decoder, reader = Encoder(), Decoder(), HeaderReader()
    for step in steps:
        if isinstance(step, int):
            encoder.header_table_size = step
            continue
        block = encoder.encode(step)
        assert reader.read(block) == decode(decoder, block)


SIZE_0, SIZE_4096, SIZE_40 = b"\x20", b"\x3f\xe1\x1f", b"\x3f\x09"
INSERT = b"\x40\x01a\x01b"
INSERT_LONG = b"\x40\x01a\x14" + b"b" * 20
STATIC, FIRST = b"\x83", b"\xbe"
blocks = st.lists(
    st.tuples(
        st.lists(st.sampled_from([SIZE_0, SIZE_4096, SIZE_40]), max_size=2),
        st.lists(st.sampled_from([INSERT, INSERT_LONG, STATIC, FIRST]), max_size=3),
    ).map(lambda parts: b"".join(parts[0] + parts[1])),
    max_size=30,
)


@repeatable
@given(blocks)
def test_so_do_blocks_that_no_encoder_would_make(blocks: list[bytes]) -> None:
    decoder, reader = Decoder(), HeaderReader()
    for block in blocks:
        try:
            expected = decode(decoder, block)
        except Exception:
            with pytest.raises(ProtocolError):
                reader.read(block)
            return  # the connection ends
        assert reader.read(block) == expected


def test_a_block_that_comes_again_is_not_decoded_again() -> None:
    reader = HeaderReader()
    block = header_block([(b"a", b"b")])
    assert reader.read(block) is reader.read(block)


def test_a_size_that_changes_is_not_overlooked() -> None:
    reader = HeaderReader()
    for block in (SIZE_0 + STATIC, INSERT, INSERT, SIZE_4096 + STATIC, INSERT):
        reader.read(block)
    assert reader.read(FIRST) == [(b"a", b"b")]


@pytest.mark.parametrize(
    "block",
    [b"\xff", b"\x80", b"\xbf", b"\x40\x05ab", b"\x00\x81\xff\x00", b"\xff" * 500, b"\x83\x20"],
)
def test_what_is_no_block_ends_the_connection(block: bytes) -> None:
    with pytest.raises(ProtocolError) as raised:
        HeaderReader().read(block)
    assert raised.value.code is ErrorCode.COMPRESSION_ERROR


def test_a_list_has_a_limit() -> None:
    value = b"v" * 4_000
    reader = HeaderReader()
    # One header in the table, and as many one-byte references to it as make a large list.
    reader.read(
        b"\x40\x01a\x7f" + bytes([0x80 | (4_000 - 127) % 128, (4_000 - 127) // 128]) + value
    )
    assert len(reader.read(FIRST * 4)) == 4
    with pytest.raises(ProtocolError):
        reader.read(FIRST * (MAX_LIST_BYTES // 4_000 + 1))


@repeatable
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(block: bytes) -> None:
    try:
        HeaderReader().read(block)
    except ProtocolError as error:
        assert error.code is ErrorCode.COMPRESSION_ERROR  # noqa: PT017  # or none at all
