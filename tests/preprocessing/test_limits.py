"""Pictures that are refused by their header, before anything is decoded."""

import re
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import MOST_PIXELS, Limits
from services.preprocessing.prepare import prepare
from tests.preprocessing.pictures import (
    FORMATS,
    chunk,
    encoded,
    pattern,
    png_header,
    stretched,
    tiff,
)

SPEC = InputSpec(8, 8, 3)
IDAT = chunk(b"IDAT", b"never inflated") + chunk(b"IEND", b"")


def refusal(content: bytes, limits: Limits | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        prepare(content, SPEC, limits or Limits())
    return caught.value


def jpeg_of(width: int, height: int) -> bytes:
    content = encoded(pattern(16, 16), "JPEG")
    return content.replace(struct.pack(">HH", 16, 16), struct.pack(">HH", height, width), 1)


def gif_of(width: int, height: int, frame_width: int, frame_height: int) -> bytes:
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, frame_width, frame_height, 0) + b"\x08\x00;"


def bmp_of(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<LHHLLllHHLLLLLL", 0, 0, 0, 54, 40, width, height, 1, 24, *[0] * 6)


def webp_of(width: int, height: int) -> bytes:
    content = encoded(pattern(16, 16), "WEBP")
    return content.replace(struct.pack("<HH", 16, 16), struct.pack("<HH", width, height), 1)


def tiff_of(width: int, height: int) -> bytes:
    size = {256: ("L", (width,)), 257: ("L", (height,))}
    return tiff({**size, 258: ("H", (8,)), 262: ("H", (1,)), 273: ("L", (8,)), 279: ("L", (1,))})


BOMBS: dict[str, Callable[[int, int], bytes]] = {
    "JPEG": jpeg_of,
    "PNG": lambda width, height: png_header(width, height) + IDAT,
    "GIF screen": lambda width, height: gif_of(width, height, 1, 1),
    "GIF frame": lambda width, height: gif_of(1, 1, width, height),
    "BMP": bmp_of,
    "TIFF": tiff_of,
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_decompression_bomb_is_refused_by_its_header(make: Callable[[int, int], bytes]) -> None:
    error = refusal(make(60_000, 50_000))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "60000 x 50000" in error.message
    assert "50000000" in error.message


@pytest.mark.parametrize("make", [*BOMBS.values(), webp_of], ids=[*BOMBS, "WebP"])
def test_the_limit_is_the_callers(make: Callable[[int, int], bytes]) -> None:
    error = refusal(make(300, 200), Limits(max_pixels=59_999))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "300 x 200" in error.message
    assert "59999" in error.message


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_at_the_limit_is_decoded(form: str) -> None:
    content = encoded(pattern(20, 30), form)
    assert stretched(content, 20, 30, limits=Limits(max_pixels=600)).shape == (20, 30, 3)
    assert refusal(content, Limits(max_pixels=599)).reason == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_a_side_has_a_limit_of_its_own(form: str) -> None:
    content = encoded(Image.new("L", (70_000, 1)), form)
    assert refusal(content).reason == "IMAGE_TOO_LARGE"
    narrow = encoded(Image.new("L", (65_535, 1), 9), form)
    assert prepare(narrow, InputSpec(8, 8, 1, 16), Limits()).max() == 9


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS)
def test_a_picture_without_pixels_is_empty(
    make: Callable[[int, int], bytes], size: tuple[int, int]
) -> None:
    content = make(*size)
    if content.startswith(b"GIF"):
        content = gif_of(*size, *size)
    assert refusal(content).reason == "IMAGE_EMPTY"


def test_no_bytes_and_too_many() -> None:
    assert refusal(b"").reason == "IMAGE_EMPTY"
    content = encoded(pattern(20, 30), "BMP")
    assert prepare(content, SPEC, Limits(max_bytes=len(content))).shape == (8, 8, 3)
    error = refusal(content, Limits(max_bytes=len(content) - 1))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert str(len(content)) in error.message


def test_tiles_are_counted_with_their_padding() -> None:
    fields = {256: ("L", (1,)), 257: ("L", (60_000,)), 258: ("H", (8,)), 262: ("H", (1,))}
    tiles = {322: ("L", (60_000,)), 323: ("L", (16,)), 324: ("L", (8,) * 3750)}
    error = refusal(tiff({**fields, **tiles, 325: ("L", (1,) * 3750)}))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert "tiles" in error.message


def test_tiff_strips_beyond_the_picture_are_refused() -> None:
    fields = {256: ("L", (4,)), 257: ("L", (4,)), 258: ("H", (8,)), 262: ("H", (1,))}
    strips = {273: ("L", (8,) * 5), 278: ("L", (1,)), 279: ("L", (4,) * 5)}
    assert refusal(tiff({**fields, **strips}, bytes(16))).reason == "IMAGE_CORRUPT"


def test_scans_of_a_progressive_jpeg_are_counted() -> None:
    content = encoded(pattern(64, 64), "JPEG", progressive=True)
    scan, end = content.rindex(b"\xff\xda"), content.rindex(b"\xff\xd9")
    scans = content.count(b"\xff\xda")
    assert stretched(content, 64, 64, limits=Limits(max_scanned_pixels=scans * 4096)).any()
    # An end mark inside a comment does not hide what follows.
    hidden = b"\xff\xfe\x00\x04\xff\xd9" + content[scan:end]
    more = content[:end] + hidden + content[end:]
    error = refusal(more, Limits(max_scanned_pixels=scans * 4096))
    assert error.reason == "IMAGE_TOO_LARGE"
    assert f"{scans + 1} scans" in error.message
    assert refusal(content[:end] + content[scan:end] * 5000).reason == "IMAGE_CORRUPT"


@pytest.mark.parametrize(
    "content",
    [
        png_header(8, 8) + chunk(b"tEXt", b"") * 70_000 + IDAT,
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000 + jpeg_of(16, 16)[2:],
        b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"!\xfe" + b"\x01x" * 70_000 + b"\x00",
        b"RIFF\xff\xff\xff\x00WEBP" + b"JUNK\x00\x00\x00\x00" * 70_000,
    ],
    ids=["PNG", "JPEG", "GIF", "WebP"],
)
def test_floods_of_tiny_blocks_are_refused(content: bytes) -> None:
    error = refusal(content)
    assert error.reason == "IMAGE_CORRUPT"
    assert re.search(r"more than \d+ (chunks|segments|blocks)", error.message)


def test_large_run_length_coded_bitmaps_are_refused() -> None:
    header = struct.pack("<LHHLLllHHLLLLLL", 0, 0, 0, 54, 40, 4000, 4000, 1, 8, 1, *[0] * 5)
    assert refusal(b"BM" + header + bytes(1000)).reason == "UNSUPPORTED_FORMAT"


def test_a_limit_that_pillow_would_warn_of_is_refused() -> None:
    assert Limits(max_pixels=MOST_PIXELS).max_pixels == MOST_PIXELS == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match="at most"):
        Limits(max_pixels=MOST_PIXELS + 1)
