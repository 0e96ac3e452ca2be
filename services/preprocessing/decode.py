"""Encoded picture → pixels, by the fastest decoder that gives the same pixels as Pillow."""

import cv2
import numpy as np
import numpy.typing as npt

from services.common.jpeg import decode_jpeg
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
        grey = channels == 1 or header.channels == 1
        pixels = decode_jpeg(header.essence, least, grey=grey)
    elif header.plain:
        pixels = _plain(header)
    return pillow.decode(header, least) if pixels is None else pixels


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
