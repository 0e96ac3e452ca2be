"""Header blocks, and what gRPC puts into them. Pure.

Blocks that come in are decoded by the hpack library. Blocks that go out are literals which use
no table (RFC 7541, 6.2.2): they are short, most of them are constants, and the peer has nothing
to remember.
"""

import base64
import binascii
import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias
from urllib.parse import quote, unquote_to_bytes

from hpack import Decoder, HPACKError

from services.common.http2.frames import ErrorCode, ProtocolError

Header: TypeAlias = tuple[bytes, bytes]
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

MAX_LIST_BYTES: Final = 16_384
"""All headers of one block, by the count of RFC 9113, 6.5.2."""
REMEMBERED: Final = 64
"""Blocks whose meaning is remembered,"""
REMEMBERED_BYTES: Final = 512
"""none of them longer than this."""
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_TIMEOUT_DIGITS: Final = 8
_ONE_BYTE: Final = 127
"""Texts that are shorter have a length of one byte."""


class HeaderReader:
    """Decodes the header blocks of one connection.

    A client that calls again and again sends the same few bytes: indices into a table that both
    ends keep. As long as nothing enters or leaves the table, and its size is the same, they mean
    the same headers and leave the table as it is.
    """

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=MAX_LIST_BYTES)
        self._known: dict[bytes, list[Header]] = {}
        self._table: tuple[Any, int, int] = self._state()

    def read(self, block: bytes) -> list[Header]:
        """Return the headers of a whole block; raises ProtocolError."""
        if (known := self._known.get(block)) is not None:
            return known
        try:
            headers = [(bytes(name), bytes(value)) for name, value in self._decode(block)]
        except HPACKError as error:
            reason = "headers that cannot be decoded"  # its own words quote the whole block
            raise ProtocolError(reason, ErrorCode.COMPRESSION_ERROR) from error
        table = self._state()
        if table[0] is not self._table[0] or table[1:] != self._table[1:]:
            self._table = table
            self._known.clear()
        elif len(self._known) < REMEMBERED and len(block) <= REMEMBERED_BYTES:
            self._known[block] = headers
        return headers

    def _state(self) -> tuple[Any, int, int]:
        """What changes whenever the table does: entries come first and leave last."""
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return entries[0] if entries else None, len(entries), table.maxsize

    def _decode(self, block: bytes) -> Iterable[Any]:
        return self._decoder.decode(block, raw=True)


def header_block(headers: Iterable[Header]) -> bytes:
    """Return headers as a block of literals."""
    return b"".join(header_literal(name, value) for name, value in headers)


def header_literal(name: bytes, value: bytes) -> bytes:
    """Return one header as a block."""
    if len(name) < _ONE_BYTE and len(value) < _ONE_BYTE:
        return b"\0%c%b%c%b" % (len(name), name, len(value), value)
    return b"\0%b%b%b%b" % (_length(name), name, _length(value), value)


def _length(text: bytes) -> bytes:
    """RFC 7541, 5.1, with a prefix of seven bits and no Huffman code."""
    length = len(text)
    if length < _ONE_BYTE:
        return bytes((length,))
    encoded = bytearray((_ONE_BYTE,))
    length -= _ONE_BYTE
    while length >= 128:
        encoded.append(length % 128 | 128)
        length //= 128
    encoded.append(length)
    return bytes(encoded)


def encode_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> list[Header]:
    """Return metadata as headers."""
    headers = []
    for key, value in metadata:
        raw = value.encode() if isinstance(value, str) else value
        if key.endswith("-bin"):
            raw = base64.b64encode(raw).rstrip(b"=")
        headers.append((key.lower().encode(), raw))
    return headers


def decode_metadata(headers: Iterable[Header]) -> Metadata:
    """Return the headers that are metadata; ProtocolError where one is no base64.

    Text that is no UTF-8 is read as Latin-1, as grpcio does it.
    """
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name.startswith((b":", b"grpc-")) and name != b"grpc-status-details-bin":
            continue
        try:
            if name.endswith(b"-bin"):
                for part in value.split(b","):
                    padded = part.strip() + b"=" * (-len(part.strip()) % 4)
                    metadata.append((_text(name), base64.b64decode(padded, validate=True)))
            else:
                metadata.append((_text(name), _text(value)))
        except binascii.Error as error:
            raise ProtocolError(f"a header that cannot be read: {error}") from error
    return tuple(metadata)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def encode_message(details: str) -> bytes:
    """Return the text of a status as the value of grpc-message."""
    return quote(details, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="replace").encode()


def decode_message(value: bytes) -> str:
    """Return the text of a status."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def encode_timeout(seconds: float) -> bytes:
    """Return a timeout as the value of grpc-timeout; rounded up to the finest unit that fits."""
    for unit, size in ((b"u", 1e-6), (b"m", 1e-3), (b"S", 1.0), (b"M", 60.0)):
        count = max(0, math.ceil(seconds / size))
        if count < 10**_MAX_TIMEOUT_DIGITS:
            return b"%d%s" % (count, unit)
    return b"%dH" % min(math.ceil(seconds / 3600), 10**_MAX_TIMEOUT_DIGITS - 1)


def decode_timeout(value: bytes) -> float:
    """Return a grpc-timeout in seconds; raises ProtocolError."""
    digits, unit = value[:-1], value[-1:]
    if not digits.isdigit() or len(digits) > _MAX_TIMEOUT_DIGITS or unit not in _UNITS:
        raise ProtocolError(f"a timeout that cannot be read: {value!r}")
    return int(digits) * _UNITS[unit]
