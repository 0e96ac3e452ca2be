"""A picture file → the pixels that serving will make of it, as nearly as another decoder can.

Preprocessing guards itself against hostile bytes; here files are trusted more, and Pillow reads
their headers. What decides the look of a picture is what preprocessing runs: size, crop, grey and
orientation are services.common.transform, and JPEG is scaled by the same decoder, whose steps are
finer than Pillow's.
"""

import hashlib
import os
import stat
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from services.common.jpeg import decode_jpeg
from services.common.models.input_spec import InputSpec
from services.common.transform import fit, least_size

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS: Final = 50_000_000
"""As in preprocessing: what is larger could not be recognised later."""

_ORIENTATION: Final = 0x0112
_ORIENTED: Final = ("JPEG", "MPO", "PNG", "WEBP")
"""Formats whose orientation counts and is left alone by Pillow, which turns TIFF by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A file that was read."""

    pixels: npt.NDArray[np.uint8] | None
    """[height, width, channels]; None: it is no picture."""
    digest: bytes = b""
    """sha256 of a picture's file."""
    problem: str = ""
    """Why it is no picture."""


def read_pictures(paths: Sequence[Path], spec: InputSpec) -> list[Picture]:
    """Decode files, on all cores, in the order given; what is no picture says why."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(lambda path: read_picture(path, spec), paths))


def read_picture(path: Path, spec: InputSpec) -> Picture:
    """Decode one file; never raises for what the file is."""
    try:
        # A pipe would have to be waited for.
        if not stat.S_ISREG(path.stat().st_mode):
            return Picture(None, problem="not a file")
        content = path.read_bytes()
        return Picture(_decode(content, spec), hashlib.sha256(content).digest())
    except UnidentifiedImageError:
        problem = f"not a picture in one of the formats {', '.join(FORMATS)}"
    except OSError as error:
        problem = error.strerror or str(error) or "damaged"
    # The decoders raise many kinds, and whatever it is, it is about this file.
    except Exception as error:
        problem = str(error) or type(error).__name__
    return Picture(None, problem=problem)


def _decode(content: bytes, spec: InputSpec) -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(content), formats=FORMATS) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(
                f"{picture.width} x {picture.height} pixels; the limit is {MOST_PIXELS} in all"
            )
        orientation = _orientation(picture)
        least = least_size(spec, orientation)
        pixels = None
        if picture.format in ("JPEG", "MPO") and picture.mode in ("RGB", "L"):
            pixels = decode_jpeg(content, least, grey=spec.channels == 1 or picture.mode == "L")
        if pixels is None:
            picture.load()
            pixels = _converted(picture)
        return fit(pixels, spec, orientation)


def _orientation(picture: Image.Image) -> int:
    if picture.format not in _ORIENTED:
        return 1
    value = picture.getexif().get(_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def _converted(picture: Image.Image) -> npt.NDArray[np.uint8]:
    """Return grey (height, width) or RGB (height, width, 3) pixels; transparency is white."""
    if picture.mode.startswith("I;16"):
        return (np.asarray(picture) >> 8).astype(np.uint8)
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        layer = picture.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer)
        return np.asarray(white)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    if picture.mode in ("RGB", "P", "CMYK", "YCbCr"):
        return np.asarray(picture.convert("RGB"))
    raise ValueError(f"pixels of the kind {picture.mode} are not supported")
