"""WebP headers (RFC 9649): the chunks of the still picture or of the first frame.

A still picture without a separate alpha channel is reduced to the simple file layout, so that
its size is stated once.
"""

import struct
from collections.abc import Iterator
from typing import Final

from services.preprocessing.formats import ifd
from services.preprocessing.header import Content, Format, Header, damaged

MAX_CHUNKS: Final = 65_536

_ALPHA, _ANIMATION = 0x10, 0x02
_14_BITS: Final = 0x3FFF


def read(content: Content) -> Header:
    """Return the header of a WebP picture; raises ImageError, IndexError or struct.error."""
    view = memoryview(content)
    found: dict[bytes, memoryview] = {}
    for kind, chunk in _chunks(view):
        # Of each kind the first: for frames (ANMF) that is the one to show.
        found.setdefault(kind, chunk)
    plain = False
    extended = found.get(b"VP8X")
    if extended is not None and extended[8] & _ANIMATION:
        width, height = _canvas(extended)
        parts = [_extended(extended, _ANIMATION | _ALPHA), found.get(b"ANIM"), found.get(b"ANMF")]
    elif lossless := found.get(b"VP8L"):
        width, height, alpha = _lossless(lossless)
        parts, plain = [lossless], not alpha
    elif lossy := found.get(b"VP8 "):
        width, height = _lossy(lossy)
        alpha_channel = found.get(b"ALPH")
        if extended is None or alpha_channel is None:
            parts, plain = [lossy], True
        else:
            parts = [_extended(extended, _ALPHA), alpha_channel, lossy]
    else:
        raise damaged(Format.WEBP, "it holds no picture")
    if extended is not None and (width, height) != _canvas(extended):
        raise damaged(Format.WEBP, "it states two different sizes")
    exif = found.get(b"EXIF")
    return Header(
        Format.WEBP,
        width,
        height,
        _file(parts),
        orientation=1 if exif is None else ifd.orientation(exif[8:]),
        plain=plain,
    )


def _chunks(view: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield type and bytes (header and padding included) of each chunk."""
    (size,) = struct.unpack_from("<L", view, 4)
    last = min(len(view), 8 + size)
    start = 12
    for _ in range(MAX_CHUNKS):
        if start + 8 > last:
            return
        kind, length = struct.unpack_from("<4sL", view, start)
        end = start + 8 + length
        if end > last:
            raise damaged(Format.WEBP, f"it ends inside its chunk {kind!r}")
        end += length % 2
        yield kind, view[start:end]
        start = end
    raise damaged(Format.WEBP, f"it has more than {MAX_CHUNKS} chunks")


def _canvas(extended: memoryview) -> tuple[int, int]:
    wide, high = extended[12:15], extended[15:18]
    return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1


def _extended(extended: memoryview, flags: int) -> bytes:
    """Return the chunk without the flags of chunks that were dropped."""
    return bytes(extended[:8]) + bytes([extended[8] & flags]) + bytes(extended[9:])


def _lossy(chunk: memoryview) -> tuple[int, int]:
    start, width, height = struct.unpack_from("<3sHH", chunk, 11)
    if start != b"\x9d\x01\x2a":
        raise damaged(Format.WEBP, "it does not begin with a key frame")
    return width & _14_BITS, height & _14_BITS


def _lossless(chunk: memoryview) -> tuple[int, int, bool]:
    start, bits = struct.unpack_from("<BL", chunk, 8)
    if start != 0x2F:
        raise damaged(Format.WEBP, "its lossless picture has no start mark")
    return (bits & _14_BITS) + 1, (bits >> 14 & _14_BITS) + 1, bool(bits >> 28 & 1)


def _file(parts: list[memoryview | bytes | None]) -> bytes:
    body = b"WEBP" + b"".join(part for part in parts if part is not None)
    return b"RIFF" + struct.pack("<L", len(body)) + body
