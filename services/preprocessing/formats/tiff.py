"""TIFF headers (TIFF 6.0): the first page, under a new directory of the fields that matter.

Pillow and libtiff see the file with that directory only. What else a file may carry, such as
EXIF, thumbnails, further pages and private fields, is not read, cannot make them warn, and cannot
state a second size.
"""

import struct
from typing import Final

from services.preprocessing.formats.ifd import ENTRY, ORIENTATION, Directory
from services.preprocessing.header import Content, Format, Header, damaged, unsupported

MAX_BITS_PER_PIXEL: Final = 64
MAX_VALUES: Final = 131_072
"""In one field: enough for a strip a row of the tallest picture, and for JPEG tables."""

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 256, 257, 258, 259, 262
_STRIPS, _SAMPLES, _STRIP_ROWS, _STRIP_BYTES, _PLANAR = 273, 277, 278, 279, 284
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_IN_STRIPS: Final = (_STRIPS, _STRIP_ROWS, _STRIP_BYTES)
_IN_TILES: Final = (_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_BYTES)
_BIT_ORDER, _FAX3, _FAX4, _PREDICTOR, _PALETTE, _EXTRA = 266, 292, 293, 317, 320, 338
_JPEG_TABLES, _YCBCR = 347, (529, 530, 531, 532)
_KEPT: Final = (
    *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS, _BIT_ORDER, _SAMPLES, _PLANAR, _FAX3),
    *(_FAX4, _PREDICTOR, _PALETTE, _EXTRA, _SAMPLE_FORMAT, _JPEG_TABLES, *_YCBCR),
)
# None, CCITT (three kinds), LZW, JPEG, Deflate (two numbers), PackBits.
_COMPRESSIONS: Final = (1, 2, 3, 4, 5, 7, 8, 32946, 32773)
# Grey from white, grey from black, RGB, palette, CMYK, YCbCr.
_COLOUR_KINDS: Final = (0, 1, 2, 3, 5, 6)
_DEPTHS: Final = (1, 2, 4, 8, 12, 16)
_UNSIGNED, _SEPARATE_PLANES = 1, 2


def read(content: Content) -> Header:
    """Return the header of a TIFF picture; raises ImageError, ValueError or struct.error."""
    page = Directory.read(content)
    width, height = page.integer(_WIDTH), page.integer(_HEIGHT)
    samples, colours = page.integer(_SAMPLES, 1), page.integer(_COLOURS, 0)
    depth = _depth(page, samples, colours)
    orientation = page.integer(ORIENTATION, 1)
    return Header(
        Format.TIFF,
        width,
        height,
        _with_directory(content, page),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        depth=depth,
        white_is_zero=colours == 0,
        padded_pixels=_padded_pixels(page, width, height, samples),
        truncated=_is_truncated(page),
    )


def _depth(page: Directory, samples: int, colours: int) -> int:
    """Return the bits a sample of a picture of a kind that is decoded."""
    compression = page.integer(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        raise unsupported(Format.TIFF, f"its compression is number {compression}")
    if colours not in _COLOUR_KINDS:
        raise unsupported(Format.TIFF, f"its colour space is number {colours}")
    depths = set(page.integers(_BITS, 8) or (1,))
    if set(page.integers(_SAMPLE_FORMAT, 8)) - {_UNSIGNED} or not depths <= set(_DEPTHS):
        raise unsupported(Format.TIFF, "its samples are not unsigned integers of up to 16 bits")
    depth = max(depths)
    if len(depths) > 1 or samples * depth > MAX_BITS_PER_PIXEL:
        raise unsupported(Format.TIFF, f"it has {samples} samples of {sorted(depths)} bits a pixel")
    return depth


def _padded_pixels(page: Directory, width: int, height: int, samples: int) -> int:
    """Return the pixels in all tiles, 0 without; refuses more blocks than cover the picture.

    Surplus ones would be decoded over the others, once each.
    """
    tiled = _TILES in page.entries
    if tiled:
        wide, high = page.integer(_TILE_WIDTH), page.integer(_TILE_HEIGHT)
    else:
        wide, high = width, min(height, page.integer(_STRIP_ROWS, height))
    if wide == 0 or high == 0:
        return 0
    blocks = -(-width // wide) * -(-height // high)
    planes = samples if page.integer(_PLANAR, 1) == _SEPARATE_PLANES else 1
    offsets = _TILES if tiled else _STRIPS
    if offsets not in page.entries:
        raise damaged(Format.TIFF, "it does not say where its pixels are")
    if page.extent(offsets)[1] > blocks * planes:
        raise damaged(Format.TIFF, "it has more strips or tiles than its size allows")
    return blocks * wide * high if tiled else 0


def _is_truncated(page: Directory) -> bool:
    """Tell whether a strip or tile ends after the file."""
    tiled = _TILES in page.entries
    starts = page.integers(_TILES if tiled else _STRIPS, MAX_VALUES)
    sizes = page.integers(_TILE_BYTES if tiled else _STRIP_BYTES, MAX_VALUES)
    last = len(page.data)
    return any(start + size > last for start, size in zip(starts, sizes, strict=False))


def _with_directory(content: Content, page: Directory) -> bytes:
    """Return the file with another first directory at its end, and no further ones."""
    wanted = (*_KEPT, *(_IN_TILES if _TILES in page.entries else _IN_STRIPS))
    tags = sorted(tag for tag in wanted if tag in page.entries)
    for tag in tags:
        _, count, _, end = page.extent(tag)
        if count > MAX_VALUES or end > len(content):
            raise damaged(Format.TIFF, f"its field {tag} is too long")
    start = len(content) + len(content) % 2
    view = memoryview(content)
    return b"".join(
        (
            view[:4],
            struct.pack(page.order + "L", start),
            view[8:],
            b"\x00" * (start - len(content)),
            struct.pack(page.order + "H", len(tags)),
            *(view[page.entries[tag] : page.entries[tag] + ENTRY] for tag in tags),
            b"\x00\x00\x00\x00",
        )
    )
