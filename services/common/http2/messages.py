"""Messages of gRPC: each has a prefix of five bytes (compressed, length). Pure."""

import struct
import zlib
from typing import Final

from services.common.http2.frames import Chunk

PREFIX: Final = struct.Struct(">BL")
PREFIX_BYTES: Final = PREFIX.size
ENCODINGS: Final = {"gzip": 31, "deflate": 15}
"""Compressions that are understood, with zlib's window bits."""
ACCEPTED: Final = ", ".join(("identity", *ENCODINGS))
SMALL_BYTES: Final = 1_024
"""Smaller chunks of a message that is not complete are put together at once,"""
GATHERED_BYTES: Final = 65_536
"""in pieces of about this size: as objects they would be many times as large."""


class MessageTooLargeError(Exception):
    """A message is larger than allowed."""


class BadMessageError(Exception):
    """The bytes are no gRPC messages."""


class Compressed(bytes):
    """A message that is yet to be decompressed.

    It stays so until it is read: what waits for its reader is no larger than what was sent.
    """


class MessageReader:
    """Puts the messages of one stream together from the chunks that come in."""

    def __init__(self, max_bytes: int, encoding: str = "identity") -> None:
        """`max_bytes` limits a message, also after decompression."""
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._held: list[Chunk | bytearray] = []
        self._held_bytes = 0
        self._wanted = PREFIX_BYTES
        """Held bytes from which on there is something to do."""

    @property
    def torn(self) -> bool:
        """The stream may not end here: a message is incomplete."""
        return bool(self._held_bytes)

    @property
    def held_bytes(self) -> int:
        """Bytes of a message that is incomplete."""
        return self._held_bytes

    def feed(self, chunk: Chunk) -> list[bytes]:
        """Return the messages that are complete now; those to give to `opened` are Compressed.

        Raises MessageTooLargeError as soon as a length says so, and BadMessageError.
        """
        if self._held:
            self._hold(chunk)
            self._held_bytes += len(chunk)
            if self._held_bytes < self._wanted:
                return []
            chunk = b"".join(self._held)
            self._held, self._held_bytes = [], 0
        messages: list[bytes] = []
        at, end = 0, len(chunk)
        self._wanted = PREFIX_BYTES
        while end - at >= PREFIX_BYTES:
            compressed, length = PREFIX.unpack_from(chunk, at)
            if length > self._max_bytes:
                raise MessageTooLargeError(
                    f"a message of {length} bytes; at most {self._max_bytes} are allowed"
                )
            after = at + PREFIX_BYTES + length
            if after > end:
                self._wanted = PREFIX_BYTES + length
                break
            body = bytes(chunk[at + PREFIX_BYTES : after])
            messages.append(self._compressed(body) if compressed else body)
            at = after
        if at < end:
            self._held, self._held_bytes = [chunk[at:]], end - at
        return messages

    def _hold(self, chunk: Chunk) -> None:
        last = self._held[-1]
        if len(chunk) >= SMALL_BYTES:
            self._held.append(chunk)
        elif isinstance(last, bytearray) and len(last) < GATHERED_BYTES:
            last += chunk
        else:
            self._held.append(bytearray(chunk))

    def _compressed(self, body: bytes) -> Compressed:
        if self._encoding not in ENCODINGS:
            raise BadMessageError(f"a compressed message, and its encoding is {self._encoding}")
        return Compressed(body)

    def opened(self, message: Compressed) -> bytes:
        """Return the decompressed message; raises MessageTooLargeError and BadMessageError."""
        inflater = zlib.decompressobj(ENCODINGS[self._encoding])
        try:
            body = inflater.decompress(message, self._max_bytes + 1)  # 0 would mean: no limit
        except zlib.error as error:
            raise BadMessageError(f"a message that is no {self._encoding}: {error}") from None
        if len(body) > self._max_bytes:
            raise MessageTooLargeError(f"a message of more than {self._max_bytes} bytes")
        if not inflater.eof:
            raise BadMessageError("a torn compressed message")
        return body


def prefix(length: int) -> bytes:
    """Return what goes before an uncompressed message of so many bytes."""
    return PREFIX.pack(0, length)
