"""The fast decoders give the same pixels as Pillow, and leave to it what they can't do."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from services.common.models.input_spec import InputSpec
from services.common.transform import fit, least_size
from services.preprocessing import decode, pillow
from services.preprocessing.header import Header
from services.preprocessing.headers import read_header, recognise
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from tests.preprocessing.pictures import FORMATS, encoded, pattern, png

WHOLE = (1 << 20, 1 << 20)


def header(content: bytes) -> Header:
    return read_header(content, recognise(content))


def noisy(height: int, width: int) -> np.ndarray:
    noise = np.random.default_rng(height * width).integers(-20, 20, (height, width, 3))
    return np.clip(pattern(height, width).astype(int) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (28, 28), (37, 53), (300, 200)])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("form", ["PNG", "WEBP"])
def test_plain_pictures_are_the_same_to_the_last_bit(
    size: tuple[int, int], grey: bool, form: str
) -> None:
    picture = noisy(*size)[..., 0] if grey else noisy(*size)
    for options in ({}, {"lossless": True}) if form == "WEBP" else ({}, {"optimize": True}):
        found = header(encoded(picture, form, **options))
        assert found.plain
        fast = decode.decode(found, WHOLE, 3)
        assert np.array_equal(fast, pillow.decode(found, WHOLE))


@pytest.mark.parametrize("level", range(10))
def test_every_compression_of_png_is_the_same(level: int) -> None:
    found = header(encoded(noisy(28, 28)[..., 1], "PNG", compress_level=level))
    assert np.array_equal(decode.decode(found, WHOLE, 1), pillow.decode(found, WHOLE))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_nearly_the_same(subsampling: int, progressive: bool, channels: int) -> None:
    content = encoded(pattern(375, 500), "JPEG", subsampling=subsampling, progressive=progressive)
    spec, found = InputSpec(224, 224, channels, 256), header(content)
    fast = fit(decode.decode(found, least_size(spec, 1), channels), spec, 1).astype(int)
    slow = fit(pillow.decode(found, WHOLE), spec, 1)
    assert np.abs(fast - slow).mean() < 1
    assert np.abs(fast - slow).max() <= 8


@pytest.mark.parametrize("shorter", [64, 100, 250, 499, 500, 900])
def test_jpeg_is_decoded_smaller_but_never_too_small(shorter: int) -> None:
    content = encoded(pattern(500, 700), "JPEG")
    pixels = decode.decode(header(content), (shorter, shorter), 3)
    assert min(pixels.shape[:2]) >= min(shorter, 500)
    assert min(pixels.shape[:2]) < max(2 * shorter + 2, 501)
    spec = InputSpec(64, 64, 3, 64)
    whole = fit(pillow.decode(header(content), WHOLE), spec, 1).astype(int)
    assert np.abs(fit(pixels, spec, 1) - whole).mean() < 2


@pytest.mark.parametrize("orientation", [1, 6])
def test_least_size_of_a_stretched_jpeg_follows_its_orientation(orientation: int) -> None:
    content = encoded(pattern(400, 400), "JPEG")
    least = least_size(InputSpec(200, 50, 3), orientation)
    assert decode.decode(header(content), least, 3).shape == (200, 200, 3)


def test_what_is_not_plain_is_not_decoded_fast() -> None:
    colours = Image.fromarray(pattern(20, 30))
    clear = Image.new("L", (30, 20), 200)
    alpha = colours.copy()
    alpha.putalpha(clear)
    for content in (
        encoded(colours.convert("CMYK"), "JPEG"),
        encoded(colours.convert("P"), "PNG"),
        encoded(colours.convert("1"), "PNG"),
        encoded(alpha, "PNG"),
        encoded(alpha, "WEBP"),
        encoded(alpha, "WEBP", lossless=True),
        encoded(colours, "PNG", transparency=(1, 2, 3)),
        png(np.zeros((2, 2, 3), np.uint16), 2),
        encoded(colours, "WEBP", save_all=True, append_images=[clear.convert("RGB")]),
    ):
        assert not header(content).plain


def test_a_jpeg_that_libjpeg_warns_of_is_judged_by_pillow() -> None:
    content = encoded(pattern(64, 64), "JPEG")
    end = content.rindex(b"\xff\xd9")
    padded = content[:end] + bytes(9) + content[end:]
    assert decode.decode(header(padded), WHOLE, 3).shape == (64, 64, 3)


@pytest.mark.parametrize("mode", ["RGBA", "P", "L", "I;16", "1"])
def test_bands_meet_without_a_seam(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Image.fromarray(np.dstack([noisy(50, 40), noisy(50, 40)[..., 0]]))
    grey = picture.convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 256)
    found = header(encoded(deep if mode == "I;16" else picture.convert(mode), "PNG"))
    whole = pillow.decode(found, WHOLE)
    monkeypatch.setattr(pillow, "BAND", 40 * 7)
    assert np.array_equal(pillow.decode(found, WHOLE), whole)


def test_threads_do_not_disturb_each_other() -> None:
    spec = InputSpec(32, 32, 3, 40)
    contents = [encoded(noisy(60 + step, 90), form) for form in FORMATS for step in range(4)]
    expected = [prepare(content, spec, Limits()) for content in contents]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            results = pool.map(lambda content: prepare(content, spec, Limits()), contents)
            assert all(map(np.array_equal, results, expected))
