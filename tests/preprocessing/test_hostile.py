"""Whatever the bytes: pixels of the right shape, or an ImageError that says why."""

import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from tests.preprocessing.pictures import FORMATS, chunk, encoded, pattern, png_header

REASONS = {"IMAGE_CORRUPT", "IMAGE_TOO_LARGE", "IMAGE_EMPTY", "UNSUPPORTED_FORMAT"}
SPEC = InputSpec(16, 12, 3, 20)
SMALL = Limits(max_pixels=1_000_000)
MAGIC = (
    b"",
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"RIFF\xff\x00\x00\x00WEBP",
    b"GIF89a",
    b"BM",
    b"II*\x00\x08\x00\x00\x00",
    b"MM\x00*\x00\x00\x00\x08",
)


def seeds() -> list[bytes]:
    picture = Image.fromarray(pattern(24, 32))
    alpha = picture.copy()
    alpha.putalpha(Image.new("L", picture.size, 99))
    files = [encoded(picture, form) for form in FORMATS]
    files += [encoded(alpha, form) for form in ("PNG", "WEBP", "TIFF")]
    files += [encoded(picture.convert("P"), form) for form in ("PNG", "GIF", "BMP", "TIFF")]
    files += [encoded(picture, "JPEG", progressive=True), encoded(picture.convert("CMYK"), "JPEG")]
    files += [encoded(picture, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg")]
    files += [encoded(picture.convert("1"), "TIFF", compression="group4")]
    files += [
        encoded(picture, form, save_all=True, append_images=[alpha])
        for form in ("PNG", "GIF", "WEBP")
    ]
    return files


SEEDS = seeds()
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def attempt(content: bytes, limits: Limits) -> npt.NDArray[np.uint8] | ImageError:
    """Return whatever comes of the bytes; any other exception is a failure of the test."""
    try:
        return prepare(content, SPEC, limits)
    except ImageError as error:
        return error


def check(content: bytes) -> None:
    result = attempt(content, SMALL)
    if isinstance(result, ImageError):
        assert result.reason in REASONS
        assert result.message
    else:
        assert result.shape == (16, 12, 3)
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous


@patient
@given(magic=st.sampled_from(MAGIC), rest=st.binary(max_size=300))
def test_random_bytes(magic: bytes, rest: bytes) -> None:
    check(magic + rest)


@settings(patient, max_examples=600)
@given(data=st.data())
def test_mutated_files(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        replaced = data.draw(st.integers(0, 4))
        content[at : at + replaced] = data.draw(st.binary(max_size=4))
    if content.startswith(b"\x89PNG"):
        content = bytearray(with_checksums(bytes(content)))
    check(bytes(content))


def with_checksums(content: bytes) -> bytes:
    """Repair the checksums of a PNG file, so that what was changed gets past them."""
    repaired, start = content[:8], 8
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            break
        repaired += chunk(content[start + 4 : start + 8], content[start + 8 : end - 4])
        start = end
    return repaired + content[start:]


@pytest.mark.parametrize("form", FORMATS)
def test_truncated_files_are_corrupt(form: str) -> None:
    content = encoded(pattern(48, 64), form)
    for share in (0.2, 0.5, 0.8, 0.95):
        with pytest.raises(ImageError) as caught:
            prepare(content[: int(len(content) * share)], SPEC, Limits())
        assert caught.value.reason == "IMAGE_CORRUPT", share
        assert form in caught.value.message.upper()


@pytest.mark.parametrize("form", FORMATS)
def test_every_truncation_is_an_error_or_the_picture(form: str) -> None:
    content = encoded(pattern(12, 16), form)
    whole = prepare(content, SPEC, Limits()).astype(int)
    for length in range(len(content)):
        result = attempt(content[:length], SMALL)
        if isinstance(result, ImageError):
            assert result.reason in REASONS
        else:
            assert np.abs(result - whole).max() <= 8, length


def test_a_wrong_checksum_is_corrupt() -> None:
    content = bytearray(encoded(pattern(12, 16), "PNG"))
    content[-20] ^= 1
    with pytest.raises(ImageError, match="checksum") as caught:
        prepare(bytes(content), SPEC, Limits())
    assert caught.value.reason == "IMAGE_CORRUPT"


@pytest.mark.parametrize("data", [b"", b"x", zlib.compress(b""), zlib.compress(bytes(100))])
def test_png_with_too_few_pixels_is_corrupt(data: bytes) -> None:
    content = png_header(64, 64) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    with pytest.raises(ImageError) as caught:
        prepare(content, SPEC, Limits())
    assert caught.value.reason == "IMAGE_CORRUPT"
    assert "PNG" in caught.value.message


def test_png_with_too_many_pixels_shows_those_that_it_announces() -> None:
    data = zlib.compress(bytes(1 + 64 * 3) * 64 + bytes(10_000_000), 9)
    content = png_header(64, 64) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    assert prepare(content, SPEC, Limits()).max() == 0
