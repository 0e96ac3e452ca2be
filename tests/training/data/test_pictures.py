"""Training sees the pixels that serving will make of a file."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from services.training.data import pictures
from services.training.data.pictures import read_picture
from tests.preprocessing.pictures import FORMATS, encoded, pattern

EXIF_ORIENTATION = 0x0112


def difference(content: bytes, spec: InputSpec, folder: Path) -> float:
    """Return the mean difference of a value between what training and what serving see."""
    path = folder / "picture"
    path.write_bytes(content)
    seen = read_picture(path, spec)
    assert seen.pixels is not None, seen.problem
    assert seen.digest == hashlib.sha256(content).digest()
    served = prepare(content, spec, Limits())
    assert seen.pixels.shape == served.shape
    return float(np.abs(seen.pixels.astype(int) - served.astype(int)).mean())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_served_pixels(form: str, channels: int, tmp_path: Path) -> None:
    for height, width in ((30, 40), (300, 170)):
        content = encoded(pattern(height, width), form)
        for spec in (InputSpec(24, 24, channels, 24), InputSpec(20, 30, channels)):
            assert difference(content, spec, tmp_path) < 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_is_undone(form: str, orientation: int, tmp_path: Path) -> None:
    image = Image.fromarray(pattern(60, 90))
    exif = image.getexif()
    exif[EXIF_ORIENTATION] = orientation
    content = encoded(image, form, exif=exif)
    assert difference(content, InputSpec(24, 24, 3, 30), tmp_path) < 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
def test_kinds_of_pixels_are_converted_as_served(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(pattern(40, 50))
    if mode == "I;16":
        image = Image.fromarray(pattern(40, 50)[..., 0].astype(np.uint16) * 256)
    elif mode in ("LA", "RGBA"):
        image.putalpha(Image.fromarray(pattern(40, 50)[..., 1]))
        image = image.convert(mode)
    else:
        image = image.convert(mode)
    for channels in (1, 3):
        spec = InputSpec(24, 24, channels, 24)
        assert difference(encoded(image, "PNG"), spec, tmp_path) < 1


def test_photographs_give_the_served_pixels(test_data: Path, tmp_path: Path) -> None:
    spec = InputSpec(64, 64, 3, 64)
    files = sorted((test_data / "images" / "imagenet_train_sample").glob("*.JPEG"))[:20]
    assert len(files) == 20
    for file in files:
        assert difference(file.read_bytes(), spec, tmp_path) < 0.1


def test_pixels_of_unusual_kinds_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "float.tiff"
    path.write_bytes(encoded(np.ones((8, 8), np.float32), "TIFF"))
    assert read_picture(path, InputSpec(8, 8, 3)).problem == (
        "pixels of the kind F are not supported"
    )


def test_huge_pictures_are_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(encoded(pattern(50, 60), "PNG"))
    monkeypatch.setattr(pictures, "MOST_PIXELS", 2999)
    found = read_picture(path, InputSpec(8, 8, 3))
    assert found.problem == "60 x 50 pixels; the limit is 2999 in all"
    assert found.pixels is None
