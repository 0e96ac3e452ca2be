"""Files that were made to break decoders, and photographs in every orientation."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.models.input_spec import InputSpec
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def sweep(test_data: Path) -> dict[str, Any]:
    """What came of every malformed file; a warning would have been an error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.preprocessing.sweep", test_data / "malformed"],
        cwd=ROOT,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_every_file_has_an_outcome_in_bounded_time_and_memory(sweep: dict[str, Any]) -> None:
    assert len(sweep["files"]) >= 450
    assert sweep["seconds"] < 10
    assert sweep["grown_mib"] < 256


def test_png_suite(sweep: dict[str, Any]) -> None:
    suite = {
        Path(name).name: reason
        for name, reason in sweep["files"].items()
        if name.startswith("pngsuite") and name.endswith(".png")
    }
    assert len(suite) > 170
    for name, reason in suite.items():
        # By convention of the suite: x marks the broken ones.
        assert (reason is not None) == name.startswith("x"), (name, reason)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("decompression_bomb.gif", "IMAGE_TOO_LARGE"),
        ("bmp_b_reallybig.bmp", "IMAGE_TOO_LARGE"),
        ("decompression_bomb.ico", "UNSUPPORTED_FORMAT"),
        ("avif_hopper.avif", "UNSUPPORTED_FORMAT"),
        ("16bit.s.tif", "UNSUPPORTED_FORMAT"),
        ("zero_width.gif", "IMAGE_EMPTY"),
        ("truncated_jpeg.jpg", "IMAGE_CORRUPT"),
        ("truncated_image.png", "IMAGE_CORRUPT"),
        ("broken_data_stream.png", "IMAGE_CORRUPT"),
        ("bmp_b_shortfile.bmp", "IMAGE_CORRUPT"),
        ("crash-2020-10-test.tif", "IMAGE_CORRUPT"),
        ("png_decompression_dos.png", None),
        ("junk_jpeg_header.jpg", None),
        ("sugarshack_bad_mpo_header.jpg", None),
        ("apng_chunk_no_fctl.png", None),
        ("16bit.MM.deflate.tif", None),
        ("tiff_tiled_cmyk_jpeg.tif", None),
    ],
)
def test_pillows_own_test_files(sweep: dict[str, Any], name: str, reason: str | None) -> None:
    assert sweep["files"][f"pillow/{name}"] == reason


@pytest.mark.parametrize("shorter", [0, 128])
def test_all_orientations_show_the_same_picture(test_data: Path, shorter: int) -> None:
    folder = test_data / "malformed" / "exif_orientation"
    spec = InputSpec(96, 96, 3, shorter)
    pictures = [
        prepare(path.read_bytes(), spec, Limits()).astype(int) for path in folder.glob("*.jpg")
    ]
    assert len(pictures) == 9
    for picture in pictures[1:]:
        # Each was compressed for itself.
        assert np.abs(picture - pictures[0]).mean() < 4


@pytest.mark.parametrize("form", ["jpg", "webp"])
def test_hopper_in_all_orientations(test_data: Path, form: str) -> None:
    folder = test_data / "malformed" / "pillow"
    spec = InputSpec(64, 64, 3)
    upright = prepare((folder / f"hopper.{form}").read_bytes(), spec, Limits()).astype(int)
    for orientation in range(2, 9):
        content = (folder / f"hopper_orientation_{orientation}.{form}").read_bytes()
        assert np.abs(prepare(content, spec, Limits()) - upright).mean() < 6
