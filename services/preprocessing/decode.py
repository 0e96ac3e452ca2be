"""Encoded picture → pixels, by the fastest decoder that gives the same pixels as Pillow."""

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from services.preprocessing import pillow
from services.preprocessing.header import Format, Header


def decode(header: Header, least: tuple[int, int], channels: int) -> npt.NDArray[np.uint8]:
    """Return a picture's pixels as stored, grey (height, width) or RGB (height, width, 3), uint8.

    A JPEG picture may come out smaller than it is, but no smaller than `least` (height, width),
    and grey where `channels` is 1. Raises ImageError, and whatever Pillow raises on damaged data.

    What a fast decoder doesn't like goes to Pillow, which then is the one to judge it.
    """
    pixels = None
    if header.plain and header.format == Format.JPEG:
        pixels = _jpeg(header, least, channels)
    elif header.plain:
        pixels = _plain(header)
    return pillow.decode(header, least) if pixels is None else pixels


def _jpeg(header: Header, least: tuple[int, int], channels: int) -> npt.NDArray[np.uint8] | None:
    grey = channels == 1 or header.channels == 1
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            header.essence,
            "GRAY" if grey else "RGB",
            fastdct=True,
            fastupsample=True,
            min_height=least[0],
            min_width=least[1],
            # Scales between a half and one are slower than the whole picture (no SIMD).
            min_factor=2,
        )
    except ValueError:
        return None
    return pixels[..., 0] if grey else pixels


def _plain(header: Header) -> npt.NDArray[np.uint8] | None:
    colours = cv2.IMREAD_GRAYSCALE if header.channels == 1 else cv2.IMREAD_COLOR_RGB
    try:
        pixels: npt.NDArray[np.uint8] | None = cv2.imdecode(
            np.frombuffer(header.essence, np.uint8), colours | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        return None
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        return None
    return pixels
