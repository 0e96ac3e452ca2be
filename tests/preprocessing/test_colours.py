"""What becomes of palettes, transparency, CMYK, 16 bits and animation."""

import numpy as np
import pytest
from PIL import Image

from tests.preprocessing.pictures import chunk, encoded, pattern, png, stretched, tiff

PICTURE = pattern(30, 40)
GREY = np.asarray(Image.fromarray(PICTURE).convert("L"))
ALPHA = np.tile(np.linspace(0, 255, 40).astype(np.uint8), (30, 1))
ON_WHITE = np.round(255 + (PICTURE - 255.0) * (ALPHA[..., None] / 255.0))


def off_by(got: np.ndarray, wanted: np.ndarray) -> int:
    return int(np.abs(got - wanted.astype(np.int16)).max())


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_lossless_rgb_comes_out_as_it_is(form: str) -> None:
    assert off_by(stretched(encoded(PICTURE, form), 30, 40), PICTURE) == 0


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_compressed_tiff(compression: str) -> None:
    content = encoded(PICTURE, "TIFF", compression=compression)
    assert off_by(stretched(content, 30, 40), PICTURE) == 0


def test_lossless_webp() -> None:
    content = encoded(PICTURE, "WEBP", lossless=True)
    assert off_by(stretched(content, 30, 40), PICTURE) == 0


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "GIF"])
def test_grey_pictures_for_both_kinds_of_model(form: str) -> None:
    content = encoded(GREY, form)
    assert off_by(stretched(content, 30, 40, 1)[..., 0], GREY) <= 4
    assert off_by(stretched(content, 30, 40), np.repeat(GREY[..., None], 3, axis=2)) <= 4


@pytest.mark.parametrize("form", ["JPEG", "PNG", "BMP", "TIFF", "WEBP"])
def test_colour_pictures_for_a_grey_model(form: str) -> None:
    assert off_by(stretched(encoded(PICTURE, form), 30, 40, 1)[..., 0], GREY) <= 6


@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_laid_on_white(form: str) -> None:
    picture = np.dstack([PICTURE, ALPHA])
    options = {"lossless": True, "exact": True} if form == "WEBP" else {}
    assert off_by(stretched(encoded(picture, form, **options), 30, 40), ON_WHITE) <= 1


def test_lossy_webp_with_alpha_is_laid_on_white() -> None:
    picture = np.dstack([PICTURE, ALPHA])
    got = stretched(encoded(picture, "WEBP", quality=95), 30, 40)
    assert np.abs(got - ON_WHITE).mean() < 4


def test_grey_with_alpha_is_laid_on_white() -> None:
    picture = Image.merge("LA", (Image.fromarray(GREY), Image.fromarray(ALPHA)))
    wanted = np.round(255 + (GREY - 255.0) * (ALPHA / 255.0))
    assert off_by(stretched(encoded(picture, "PNG"), 30, 40, 1)[..., 0], wanted) <= 1


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(form: str) -> None:
    picture = Image.new("P", (40, 30), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30, 40, 50, 60])
    picture.paste(2, (0, 0, 20, 30))
    got = stretched(encoded(picture, form, transparency=2), 30, 40)
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[0, 39].tolist() == [10, 20, 30]
    opaque = stretched(encoded(picture, form), 30, 40)
    assert opaque[0, 0].tolist() == [40, 50, 60]


def test_palette_entries_can_be_partly_transparent() -> None:
    indices = np.zeros((2, 3, 1), np.uint8)
    indices[:, 1], indices[:, 2] = 1, 2
    palette = chunk(b"PLTE", bytes([0, 0, 0, 100, 100, 100, 200, 0, 0]))
    content = png(indices, 3, palette, chunk(b"tRNS", bytes([0, 128])))
    assert stretched(content, 2, 3)[0].tolist() == [[255] * 3, [177] * 3, [200, 0, 0]]


def test_the_upper_byte_of_16_bit_png() -> None:
    samples = np.array([[[0x12FF], [0xFF00]], [[0x00FF], [0x8080]]], np.uint16)
    assert stretched(png(samples, 0), 2, 2, 1)[..., 0].tolist() == [[0x12, 0xFF], [0, 0x80]]
    colour = np.repeat(samples, 3, axis=2)
    assert stretched(png(colour, 2), 2, 2)[..., 2].tolist() == [[0x12, 0xFF], [0, 0x80]]


def test_a_transparent_colour_of_16_bits_is_white() -> None:
    samples = np.array([[[0x1234], [0x4000]]], np.uint16)
    grey = png(samples, 0, chunk(b"tRNS", b"\x12\x34"))
    assert stretched(grey, 1, 2, 1).ravel().tolist() == [255, 0x40]
    colour = png(np.repeat(samples, 3, axis=2), 2, chunk(b"tRNS", b"\x12\x34" * 3))
    assert stretched(colour, 1, 2).tolist() == [[[255] * 3, [0x40] * 3]]


def test_a_transparent_colour_of_8_bits_is_white() -> None:
    colour = np.array([[[1, 2, 3], [1, 2, 4]]], np.uint8)
    content = png(colour, 2, chunk(b"tRNS", bytes([0, 1, 0, 2, 0, 3])))
    assert stretched(content, 1, 2).tolist() == [[[255] * 3, [1, 2, 4]]]


@pytest.mark.parametrize("colours", [0, 1])
@pytest.mark.parametrize("compressed", [False, True])
def test_16_bit_tiff(colours: int, compressed: bool) -> None:
    samples = (np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4)
    options = {"compression": "tiff_lzw"} if compressed else {}
    content = encoded(Image.fromarray(samples), "TIFF", tiffinfo={262: colours}, **options)
    wanted = samples >> 8 if colours else 255 - (samples >> 8)
    assert off_by(stretched(content, 3, 4, 1)[..., 0], wanted) == 0


def test_12_bit_tiff() -> None:
    data = bytes([0x12, 0x3F, 0xED, 0x80, 0x10, 0x00])  # 0x123 0xfed 0x801 0x000
    fields = {256: ("L", (4,)), 257: ("L", (1,)), 258: ("H", (12,)), 262: ("H", (1,))}
    content = tiff({**fields, 273: ("L", (8,)), 278: ("L", (1,)), 279: ("L", (6,))}, data)
    assert stretched(content, 1, 4, 1).ravel().tolist() == [0x12, 0xFE, 0x80, 0]


def test_tiff_that_counts_from_white() -> None:
    fields = {256: ("L", (2,)), 257: ("L", (1,)), 258: ("H", (8,)), 262: ("H", (0,))}
    content = tiff({**fields, 273: ("L", (8,)), 279: ("L", (2,))}, bytes([0, 200]))
    assert stretched(content, 1, 2, 1).ravel().tolist() == [255, 55]


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(form: str) -> None:
    picture = Image.fromarray(PICTURE).convert("CMYK")
    got = stretched(encoded(picture, form), 30, 40)
    assert np.abs(got - PICTURE).mean() < 3


def test_cmyk_for_a_grey_model() -> None:
    picture = Image.fromarray(PICTURE).convert("CMYK")
    assert np.abs(stretched(encoded(picture, "JPEG"), 30, 40, 1)[..., 0] - GREY).mean() < 3


def test_one_bit_pictures() -> None:
    picture = Image.new("1", (16, 4), 1)
    picture.paste(0, (0, 0, 8, 4))
    for form, options in (("PNG", {}), ("BMP", {}), ("TIFF", {"compression": "group4"})):
        got = stretched(encoded(picture, form, **options), 4, 16)
        assert got[0, 0].tolist() == [0, 0, 0]
        assert got[0, 15].tolist() == [255, 255, 255]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_of_several_frames(form: str) -> None:
    first, second = Image.new("RGB", (20, 10), (250, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 250))
    content = encoded(first, form, save_all=True, append_images=[second, second])
    assert np.abs(stretched(content, 10, 20) - [250, 0, 0]).max() <= 6


def test_an_animated_webp_with_alpha_is_laid_on_white() -> None:
    first, second = Image.new("RGBA", (20, 10), (0, 0, 0, 0)), Image.new("RGBA", (20, 10), "red")
    content = encoded(first, "WEBP", save_all=True, append_images=[second], lossless=True)
    assert stretched(content, 10, 20).min() == 255
