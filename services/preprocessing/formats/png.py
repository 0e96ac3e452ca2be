"""PNG headers (W3C PNG, third edition): the chunks of the still picture, their checksums checked.

An animated PNG is its default picture, as a viewer without animation shows it.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from services.preprocessing.formats import ifd
from services.preprocessing.header import Content, Format, Header, damaged, joined, unsupported

MAX_CHUNKS: Final = 65_536
"""Encoders write chunks of 8 KiB and more; so many tiny ones are made to waste time."""

_SIGNATURE: Final = 8
_GREY, _RGB, _PALETTE = 0, 2, 3
_DEPTHS: Final = {
    _GREY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    4: (8, 16),
    6: (8, 16),
}
"""Bits a sample that each colour type may have."""


def read(content: Content) -> Header:
    """Return the header of a PNG picture; raises ImageError or struct.error."""
    view = memoryview(content)
    kept = [view[:_SIGNATURE]]
    seen: set[bytes] = set()
    orientation = 1
    for kind, start, end in _chunks(view):
        if not seen:
            width, height, depth, colour = _image_header(view, kind, start, end)
        elif kind == b"IHDR":
            raise damaged(Format.PNG, "it has two headers")
        if kind == b"eXIf":
            orientation = ifd.orientation(view[start + 8 : end - 4])
        if _is_kept(kind, colour, seen):
            if zlib.crc32(view[start + 4 : end - 4]) != struct.unpack_from(">L", view, end - 4)[0]:
                raise damaged(Format.PNG, f"the checksum of a chunk {kind.decode()} is wrong")
            kept.append(view[start:end])
            seen.add(kind)
        elif kind[:1].isupper() and kind != b"PLTE":
            raise unsupported(Format.PNG, f"it needs the extension {kind!r}")
    if b"IDAT" not in seen or (colour == _PALETTE and b"PLTE" not in seen):
        raise damaged(Format.PNG, "it has no pixels or no palette")
    return Header(
        Format.PNG,
        width,
        height,
        joined(content, kept),
        orientation=orientation,
        plain=depth == 8 and colour in (_GREY, _RGB) and b"tRNS" not in seen,
        channels=1 if colour == _GREY else 3,
        depth=depth,
    )


def _chunks(view: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of each chunk up to IEND."""
    end = _SIGNATURE
    for _ in range(MAX_CHUNKS):
        start = end
        length, kind = struct.unpack_from(">L4s", view, start)
        end = start + 12 + length
        if end > len(view):
            raise damaged(Format.PNG, "it ends before its end mark")
        yield kind, start, end
        if kind == b"IEND":
            return
    raise damaged(Format.PNG, f"it has more than {MAX_CHUNKS} chunks")


def _image_header(view: memoryview, kind: bytes, start: int, end: int) -> tuple[int, int, int, int]:
    """Return width, height, bits a sample and colour type."""
    if kind != b"IHDR" or end - start != 25:
        raise damaged(Format.PNG, "it does not begin with its header")
    width, height, depth, colour, compression, filtering, interlacing = struct.unpack_from(
        ">LLBBBBB", view, start + 8
    )
    if depth not in _DEPTHS.get(colour, ()):
        raise damaged(Format.PNG, f"colour type {colour} with {depth} bits a sample")
    if compression or filtering or interlacing > 1:
        raise damaged(Format.PNG, "its compression, filter or interlacing does not exist")
    return width, height, depth, colour


def _is_kept(kind: bytes, colour: int, seen: set[bytes]) -> bool:
    """Tell whether the pixels depend on the chunk."""
    if kind == b"PLTE":
        return colour == _PALETTE and b"IDAT" not in seen
    if kind == b"tRNS":
        return colour in (_GREY, _RGB, _PALETTE) and b"IDAT" not in seen
    return kind in (b"IHDR", b"IDAT", b"IEND")
