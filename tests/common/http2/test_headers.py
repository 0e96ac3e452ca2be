"""What gRPC puts into headers."""

from fractions import Fraction

import pytest
from hpack import Decoder
from hypothesis import given
from hypothesis import strategies as st

from services.common.http2.frames import ProtocolError
from services.common.http2.headers import (
    Header,
    decode_message,
    decode_metadata,
    decode_timeout,
    encode_message,
    encode_metadata,
    encode_timeout,
    header_block,
)
from tests.repeatable import repeatable

keys = st.text("abcxyz09-_.", min_size=1, max_size=12).filter(
    lambda key: not key.startswith("grpc-") and not key.endswith("-bin")
)


@repeatable
@given(st.lists(st.tuples(st.binary(max_size=200), st.binary(max_size=40_000))))
def test_a_block_is_read_by_any_decoder(headers: list[Header]) -> None:
    decoded = Decoder(max_header_list_size=1 << 30).decode(header_block(headers), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in decoded] == headers


@repeatable
@given(st.floats(0, 3e11))
def test_a_timeout_is_never_shorter_than_asked_and_hardly_longer(seconds: float) -> None:
    encoded = encode_timeout(seconds)
    assert len(encoded) <= 9
    units = {b"u": "1/1000000", b"m": "1/1000", b"S": "1", b"M": "60", b"H": "3600"}
    exact = int(encoded[:-1]) * Fraction(units[encoded[-1:]])
    rounding = Fraction(seconds) * Fraction(1, 10**15)
    assert exact >= Fraction(seconds) - rounding
    assert exact <= Fraction(seconds) * (1 + Fraction(1, 10**4)) + Fraction(1, 10**6)
    assert decode_timeout(encoded) == pytest.approx(float(exact))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(b"1H", 3600), (b"2M", 120), (b"3S", 3), (b"4m", 4e-3), (b"5u", 5e-6), (b"99999999n", 0.1)],
)
def test_every_unit_is_read(value: bytes, seconds: float) -> None:
    assert decode_timeout(value) == pytest.approx(seconds)


@pytest.mark.parametrize("seconds", [-1.0, 0.0])
def test_no_time_left_is_sent_as_such(seconds: float) -> None:
    assert decode_timeout(encode_timeout(seconds)) == 0


@pytest.mark.parametrize("value", [b"", b"S", b"1", b"1x", b"-1S", b"1.5S", b"123456789S", b" 1S"])
def test_other_timeouts_are_refused(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_timeout(value)


@repeatable
@given(st.text())
def test_a_message_comes_back_as_printable_ascii(details: str) -> None:
    encoded = encode_message(details)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert decode_message(encoded) == details


@repeatable
@given(st.binary(max_size=100))
def test_any_message_can_be_read(value: bytes) -> None:
    assert isinstance(decode_message(value), str)


def test_a_message_with_half_a_character_is_sent() -> None:
    assert decode_message(encode_message("a\ud800b")) == "a?b"


@repeatable
@given(
    st.lists(
        st.one_of(
            st.tuples(keys, st.text()),
            st.tuples(keys.map(lambda key: f"{key}-bin"), st.binary(max_size=50)),
        )
    )
)
def test_metadata_comes_back(metadata: list[tuple[str, str | bytes]]) -> None:
    assert decode_metadata(encode_metadata(metadata)) == tuple(metadata)


def test_padded_and_joined_binary_metadata_is_read() -> None:
    headers = [(b"a-bin", b"YQ==, Yg,YWI=")]
    assert decode_metadata(headers) == (("a-bin", b"a"), ("a-bin", b"b"), ("a-bin", b"ab"))


@pytest.mark.parametrize("value", [b"a", b"????", b"\xff\xff\xff\xff"])
def test_binary_metadata_must_be_base64(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_metadata([(b"a-bin", value)])


def test_text_that_is_no_utf_8_is_read_as_latin_1() -> None:
    assert decode_metadata([(b"a", b"\xe9")]) == (("a", "é"),)


def test_what_is_not_metadata_is_left_out() -> None:
    headers = [(b":path", b"/"), (b"grpc-timeout", b"1S"), (b"grpc-status-details-bin", b"YQ")]
    assert decode_metadata(headers) == (("grpc-status-details-bin", b"a"),)
