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


class MessageTooLargeError(Exception):
    """A message is larger than allowed."""


class BadMessageError(Exception):
    """The bytes are no gRPC messages."""


class MessageReader:
    """Puts the messages of one stream together from the chunks that come in."""

    def __init__(self, max_bytes: int, encoding: str = "identity") -> None:
        """`max_bytes` limits a message, also after decompression."""
        self._max_bytes = max_bytes
        self._encoding = encoding
        self._held: list[Chunk] = []
        self._held_bytes = 0
        self._wanted = PREFIX_BYTES
        """Held bytes from which on there is something to do."""

    @property
    def torn(self) -> bool:
        """The stream may not end here: a message is incomplete."""
        return bool(self._held_bytes)

    def feed(self, chunk: Chunk) -> list[bytes]:
        """Return the messages that are complete now.

        Raises MessageTooLargeError as soon as a length says so, and BadMessageError.
        """
        if self._held:
            self._held.append(chunk)
            self._held_bytes += len(chunk)
            if self._held_bytes < self._wanted:
                return []
            chunk = b"".join(self._held)
            self._held, self._held_bytes = [], 0
        messages = []
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
            messages.append(self._decompressed(body) if compressed else body)
            at = after
        if at < end:
            self._held, self._held_bytes = [chunk[at:]], end - at
        return messages

    def _decompressed(self, body: bytes) -> bytes:
        bits = ENCODINGS.get(self._encoding)
        if bits is None:
            raise BadMessageError(f"a compressed message, and its encoding is {self._encoding}")
        inflater = zlib.decompressobj(bits)
        try:
            message = inflater.decompress(body, self._max_bytes + 1)
        except zlib.error as error:
            raise BadMessageError(f"a message that is no {self._encoding}: {error}") from None
        if len(message) > self._max_bytes:
            raise MessageTooLargeError(f"a message of more than {self._max_bytes} bytes")
        if not inflater.eof:
            raise BadMessageError("a torn compressed message")
        return message


def prefix(length: int) -> bytes:
    """Return what goes before an uncompressed message of so many bytes."""
    return PREFIX.pack(0, length)
