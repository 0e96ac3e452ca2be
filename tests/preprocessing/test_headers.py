"""Recognising formats, orientation, and what of a file reaches a decoder."""

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.preprocessing.formats.ifd import orientation
from services.preprocessing.header import Header
from services.preprocessing.headers import read_header, recognise
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from tests.preprocessing.pictures import (
    FORMATS,
    chunk,
    encoded,
    exif,
    pattern,
    png_header,
    stretched,
    tiff,
    with_orientation,
)

PICTURE = pattern(30, 40)


def header(content: bytes) -> Header:
    return read_header(content, recognise(content))


@pytest.mark.parametrize("form", FORMATS)
def test_recognised_by_the_first_bytes(form: str) -> None:
    found = header(encoded(PICTURE, form))
    assert found.format.upper() == form
    assert (found.width, found.height) == (40, 30)
    assert found.orientation == 1


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\x00\x00\x01\x00\x01\x00", "ICO"),
        (b"\x00\x00\x00\x1cftypavif", "AVIF"),
        (b"\x00\x00\x00\x1cftypheic", "HEIC"),
        (b"%PDF-1.7", "PDF"),
        (b"II+\x00\x08\x00", "BigTIFF"),
        (b"P6 1 1 255 abc", "50 36 20 31"),
        (b"\xff", "ff"),
    ],
)
def test_anything_else_is_refused_by_name(start: bytes, name: str) -> None:
    with pytest.raises(ImageError, match=name) as caught:
        prepare(start, InputSpec(1, 1, 3), Limits())
    assert caught.value.reason == "UNSUPPORTED_FORMAT"
    assert "JPEG, PNG, WebP, GIF, BMP and TIFF" in caught.value.message


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("shorter", [0, 48])
def test_exif_orientation_is_undone(form: str, value: int, shorter: int) -> None:
    stored = with_orientation(PICTURE, value)
    options: dict[str, dict[str, Any]] = {
        "JPEG": {"exif": b"Exif\x00\x00" + exif(value), "quality": 95},
        "PNG": {"exif": exif(value)},
        "WEBP": {"exif": exif(value), "lossless": True},
        "TIFF": {"tiffinfo": {274: value}},
    }
    content = encoded(stored, form, **options[form])
    assert header(content).orientation == value
    spec = InputSpec(24, 32, 3, shorter)
    upright = prepare(encoded(PICTURE, "PNG"), spec, Limits()).astype(int)
    tolerance = 12 if form == "JPEG" else 2
    assert np.abs(prepare(content, spec, Limits()) - upright).max() <= tolerance


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_an_exif_block(order: str) -> None:
    assert orientation(exif(6, order)) == 6
    assert orientation(b"Exif\x00\x00" + exif(8, order)) == 8
    assert orientation(memoryview(exif(5, order))) == 5


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"Exif\x00\x00",
        b"II*\x00",
        exif(0),
        exif(9),
        exif(6)[:-7],
        b"MM" + exif(6)[2:],
        b"II*\x00\xff\xff\xff\xff",
        exif(6).replace(b"\x03\x00\x01", b"\x02\x00\x01"),
        exif(6).replace(b"\x03\x00\x01\x00", b"\x03\x00\xff\xff"),
    ],
)
def test_an_orientation_that_makes_no_sense_is_ignored(block: bytes) -> None:
    assert orientation(block) == 1
    content = encoded(PICTURE, "JPEG", exif=b"Exif\x00\x00" + block)
    assert stretched(content, 30, 40).shape == (30, 40, 3)


def test_comments_profiles_and_exif_never_reach_a_decoder() -> None:
    junk = b"Z" * 3000
    text = PngImagePlugin.PngInfo()
    text.add_itxt("Comment", "Z" * 3000, zip=True)
    frames = {"save_all": True, "append_images": [Image.new("RGB", (40, 30))]}
    files = {
        "JPEG": encoded(
            PICTURE, "JPEG", exif=b"Exif\x00\x00" + exif(1), icc_profile=junk, comment=junk
        ),
        "PNG": encoded(PICTURE, "PNG", exif=exif(1), icc_profile=junk, pnginfo=text),
        "WEBP": encoded(PICTURE, "WEBP", exif=exif(1), icc_profile=junk, xmp=junk),
        "GIF": encoded(PICTURE, "GIF", comment=junk),
        "TIFF": encoded(PICTURE, "TIFF", icc_profile=junk, tiffinfo={270: "Z" * 3000}),
        "animated WEBP": encoded(PICTURE, "WEBP", icc_profile=junk, **frames),
    }
    for name, content in files.items():
        essence = header(content).essence
        with Image.open(io.BytesIO(essence)) as picture:
            assert picture.size == (40, 30), name
            assert not {"icc_profile", "exif", "xmp", "comment"} & set(picture.info), name
            assert getattr(picture, "n_frames", 1) == 1, name


def test_a_file_without_extras_is_not_copied() -> None:
    content = encoded(PICTURE, "JPEG")
    assert header(content).essence is content
    content = png_header(1, 1, 8, 0) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    assert header(content).essence is content


def test_a_view_of_bytes_is_as_good_as_bytes() -> None:
    for form in FORMATS:
        content = encoded(PICTURE, form)
        view = memoryview(b"before" + content + b"after")[6:-5]
        spec = InputSpec(20, 20, 3, 24)
        assert np.array_equal(prepare(view, spec, Limits()), prepare(content, spec, Limits())), form


def test_strange_metadata_do_not_warn() -> None:
    fields = {256: ("L", (4,)), 257: ("L", (2,)), 258: ("H", (8,)), 262: ("H", (1,))}
    strange = {700: ("H", (3,) * 9), 42112: ("L", (99, 98)), 34665: ("L", (2**31,))}
    page = tiff({**fields, **strange, 273: ("L", (8,)), 279: ("L", (8,))}, bytes(8))
    animated = encoded(PICTURE, "PNG", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    animated = animated.replace(b"acTL\x00\x00\x00\x02", b"acTL\x00\x00\x00\x00")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stretched(page, 2, 4)
        stretched(encoded(PICTURE, "JPEG", exif=b"Exif\x00\x00" + exif(6)[:-3]), 40, 30)
        stretched(animated, 30, 40)
    assert caught == []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({339: ("H", (3,)), 258: ("H", (32,))}, "UNSUPPORTED_FORMAT"),
        ({339: ("H", (2,))}, "UNSUPPORTED_FORMAT"),
        ({259: ("H", (50_000,))}, "UNSUPPORTED_FORMAT"),
        ({262: ("H", (8,))}, "UNSUPPORTED_FORMAT"),
        ({277: ("H", (9,))}, "UNSUPPORTED_FORMAT"),
        ({279: ("L", (1000,))}, "IMAGE_CORRUPT"),
        ({273: ("L", (2**32 - 1,))}, "IMAGE_CORRUPT"),
        ({256: ("L", (4, 4))}, "IMAGE_CORRUPT"),
    ],
)
def test_tiff_fields(fields: dict[int, tuple[str, tuple[int, ...]]], reason: str) -> None:
    good: dict[int, tuple[str, tuple[int, ...]]] = {
        256: ("L", (4,)),
        257: ("L", (2,)),
        258: ("H", (8,)),
        262: ("H", (1,)),
        273: ("L", (8,)),
        279: ("L", (8,)),
    }
    assert stretched(tiff(good, bytes([7] * 8)), 2, 4).max() == 7
    with pytest.raises(ImageError) as caught:
        stretched(tiff({**good, **fields}, bytes(8)), 2, 4)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("marker", "why"),
    [(0xC3, "lossless"), (0xC5, "hierarchical"), (0xC9, "arithmetic-coded")],
)
def test_jpeg_processes_that_are_not_decoded(marker: int, why: str) -> None:
    content = encoded(PICTURE, "JPEG")
    extended = content.replace(b"\xff\xc0", b"\xff\xc1", 1)
    assert np.array_equal(stretched(extended, 30, 40), stretched(content, 30, 40))
    with pytest.raises(ImageError, match=why) as caught:
        stretched(content.replace(b"\xff\xc0", bytes([0xFF, marker]), 1), 30, 40)
    assert caught.value.reason == "UNSUPPORTED_FORMAT"


def test_12_bit_jpeg_is_not_supported() -> None:
    content = encoded(PICTURE, "JPEG")
    frame = content.index(b"\xff\xc0")
    content = content[: frame + 4] + b"\x0c" + content[frame + 5 :]
    with pytest.raises(ImageError, match="12 bits"):
        stretched(content, 30, 40)


def test_stray_bytes_between_jpeg_segments_are_skipped() -> None:
    content = encoded(PICTURE, "JPEG")
    stray = content[:2] + b"\x00\xff\x00junk\xff\xff" + content[2:]
    # The file must still begin like a JPEG picture.
    stray = b"\xff\xd8\xff" + stray[2:]
    assert np.array_equal(stretched(stray, 30, 40), stretched(content, 30, 40))


def test_webp_that_states_two_sizes() -> None:
    content = bytearray(encoded(np.dstack([PICTURE, PICTURE[..., 0]]), "WEBP"))
    canvas = content.index(b"VP8X") + 12
    content[canvas : canvas + 3] = struct.pack("<L", 500)[:3]
    with pytest.raises(ImageError, match="two different sizes"):
        stretched(bytes(content), 30, 40)


@pytest.mark.parametrize("kind", [b"CgBI", b"IHDR"])
def test_png_chunks_that_change_everything(kind: bytes) -> None:
    content = encoded(PICTURE, "PNG")
    fields = content[16:29] if kind == b"IHDR" else b"\x00\x00\x00\x00"
    with pytest.raises(ImageError):
        stretched(content[:33] + chunk(kind, fields) + content[33:], 30, 40)
