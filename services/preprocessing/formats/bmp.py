"""BMP headers, from OS/2 1.x to Windows 5.

There is no checksum and nothing to drop, but the file must be long enough for its pixels.
"""

import struct
from typing import Final

from services.preprocessing.header import Content, Format, Header, damaged, unsupported

MAX_RUN_LENGTH: Final = 4_000_000
"""Pixels and bytes of a run-length coded picture: Pillow expands it in Python, in up to 0.3
microseconds a byte."""

_FILE_HEADER: Final = 14
_OS2: Final = 12
_RAW, _RLE8, _RLE4, _BITFIELDS = 0, 1, 2, 3
_DEPTHS: Final = {
    _RAW: (1, 4, 8, 16, 24, 32),
    _RLE8: (8,),
    _RLE4: (4,),
    _BITFIELDS: (16, 24, 32),
}
"""Bits a pixel that each compression may have."""


def read(content: Content) -> Header:
    """Return the header of a BMP picture; raises ImageError or struct.error."""
    pixels_at, size = struct.unpack_from("<LL", content, 10)
    if size == _OS2:
        width, height, _, depth = struct.unpack_from("<HHHH", content, _FILE_HEADER + 4)
        compression = _RAW
    elif size in (40, 52, 56, 64, 108, 124):
        width, height, _, depth, compression = struct.unpack_from(
            "<llHHL", content, _FILE_HEADER + 4
        )
    else:
        raise unsupported(Format.BMP, f"its header has {size} bytes")
    if width < 0:
        raise damaged(Format.BMP, f"it is {width} pixels wide")
    height = abs(height)  # negative: the first row is the top one
    if depth not in _DEPTHS.get(compression, ()):
        raise unsupported(Format.BMP, f"compression {compression} with {depth} bits a pixel")
    if compression in (_RLE8, _RLE4) and (
        width * height > MAX_RUN_LENGTH or len(content) > MAX_RUN_LENGTH
    ):
        raise unsupported(
            Format.BMP,
            f"it is run-length coded, {width} x {height} pixels in {len(content)} bytes; "
            f"the limit for these is {MAX_RUN_LENGTH} of each",
        )
    stride = (width * depth + 31) // 32 * 4
    last = pixels_at + stride * (height - 1) + (width * depth + 7) // 8
    truncated = compression in (_RAW, _BITFIELDS) and last > len(content)
    return Header(Format.BMP, width, height, content, truncated=truncated)
