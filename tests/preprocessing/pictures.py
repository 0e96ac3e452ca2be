"""Pictures that the tests make: patterns, and encoded files that Pillow would not write."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""By Pillow's names."""


def pattern(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a smooth RGB picture, (height, width, 3), without any symmetry."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    channels = (200 * x + 40 * y, 30 + 180 * y**2, 220 - 120 * x - 60 * x * y)
    return np.stack(channels, axis=-1).astype(np.uint8)


def encoded(picture: Image.Image | npt.NDArray[Any], form: str, **options: Any) -> bytes:
    """Return the picture as a file of that format."""
    buffer = BytesIO()
    if not isinstance(picture, Image.Image):
        picture = Image.fromarray(picture)
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def stretched(
    content: bytes, height: int, width: int, channels: int = 3, limits: Limits | None = None
) -> npt.NDArray[np.int16]:
    """Prepare a picture for an input of its own size, as numbers that can be subtracted."""
    spec = InputSpec(height, width, channels)
    return prepare(content, spec, limits or Limits()).astype(np.int16)


def with_orientation(picture: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return what a camera stores so that undoing `orientation` gives the picture."""
    flipped = picture.swapaxes(0, 1)
    stored = {
        2: np.fliplr(picture),
        3: np.rot90(picture, 2),
        4: np.flipud(picture),
        5: flipped,
        6: np.rot90(picture, 1),  # shown turned clockwise, so stored turned the other way
        7: np.rot90(flipped, 2),
        8: np.rot90(picture, -1),
    }
    return np.ascontiguousarray(stored.get(orientation, picture))


def exif(orientation: int, order: str = "<") -> bytes:
    """Return an EXIF block (without the prefix of JPEG) with that orientation only."""
    head = b"II*\x00" if order == "<" else b"MM\x00*"
    return head + struct.pack(f"{order}LHHHLHHL", 8, 1, 274, 3, 1, orientation, 0, 0)


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk with its checksum."""
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """Return the signature and the header chunk of a PNG file."""
    fields = struct.pack(">LLBBBBB", width, height, depth, colour, 0, 0, 0)
    return PNG_SIGNATURE + chunk(b"IHDR", fields)


def png(samples: npt.NDArray[Any], colour: int, *before: bytes) -> bytes:
    """Return a PNG file of uint8 or uint16 samples (height, width, samples), unfiltered.

    `before` are chunks to stand before the pixels.
    """
    height, width = samples.shape[:2]
    depth = samples.dtype.itemsize * 8
    rows = samples.astype(f">u{depth // 8}").reshape(height, -1)
    data = b"".join(b"\x00" + row.tobytes() for row in rows)
    body = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return png_header(width, height, depth, colour) + b"".join(before) + body


def tiff(fields: dict[int, tuple[str, tuple[int, ...]]], data: bytes = b"") -> bytes:
    """Return a little-endian TIFF file: `data` at offset 8, then one directory.

    A field is a struct code ("H" or "L") and its values.
    """
    kinds = {"B": 1, "H": 3, "L": 4}
    outside, entries = b"", b""
    after = 8 + len(data) + len(data) % 2 + 2 + 12 * len(fields) + 4
    for tag, (code, values) in sorted(fields.items()):
        packed = struct.pack(f"<{len(values)}{code}", *values)
        where = packed.ljust(4, b"\x00")
        if len(packed) > 4:
            where = struct.pack("<L", after + len(outside))
            outside += packed
        entries += struct.pack("<HHL", tag, kinds[code], len(values)) + where
    start = 8 + len(data) + len(data) % 2
    head = b"II*\x00" + struct.pack("<L", start) + data.ljust(start - 8, b"\x00")
    return head + struct.pack("<H", len(fields)) + entries + bytes(4) + outside
