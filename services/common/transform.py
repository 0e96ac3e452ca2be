"""Pixels as stored → pixels as the model takes them: resize, crop, colour, orientation.

Orientation comes last, on the small picture; until then height and width of the target are
swapped where it will swap them. The crop is exactly central, so that all eight orientations of
one picture give the same pixels.
"""

import math
from typing import Final, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from services.common.models.input_spec import InputSpec

Pixels: TypeAlias = npt.NDArray[np.uint8]

_FLIPS: Final = {2: 1, 3: -1, 4: 0, 7: -1}
"""OpenCV's number for the flip that an orientation needs: left-right, both, upside-down."""


def least_size(spec: InputSpec, orientation: int) -> tuple[int, int]:
    """Return the (height, width), as stored, below which the picture would have to be enlarged."""
    if spec.resize_shorter_side:
        return spec.resize_shorter_side, spec.resize_shorter_side
    return _stored_target(spec, orientation)


def fit(pixels: Pixels, spec: InputSpec, orientation: int) -> Pixels:
    """Return (height, width, channels) pixels, C-contiguous, from stored grey or RGB ones."""
    height, width = _stored_target(spec, orientation)
    if spec.resize_shorter_side:
        pixels = _resize_and_crop(pixels, height, width, spec.resize_shorter_side)
    else:
        pixels = _resize(pixels, height, width)
    if pixels.ndim == 2 and spec.channels == 3:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    elif pixels.ndim == 3 and spec.channels == 1:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    oriented = np.ascontiguousarray(_orient(pixels, orientation))
    return oriented.reshape(spec.height, spec.width, spec.channels)


def window(length: int, scale: float, crop: int) -> tuple[int, int, int]:
    """Return start and length of the central part of a side to resize, and the length it gets.

    Only what the crop needs is resized: most pictures have a third to spare, and one pixel by
    65,535 would become 256 by 16 million. The part's new length exceeds the crop by an even
    number; of the parts that are a little longer than needed, the one is taken whose rounding
    distorts least (by a pixel at most).
    """
    # One pixel more at each end, for the interpolation there.
    needed = min(length, math.ceil(crop / scale) + 2)
    needed += (length - needed) % 2

    def resized(part: int) -> int:
        return crop + 2 * max(0, round((part * scale - crop) / 2))

    def distortion(part: int) -> float:
        return abs(resized(part) / (part * scale) - 1)

    # A picture that is enlarged would pay for every spare pixel many times over.
    longest = min(length, needed + 10) if scale < 1 else needed
    part = min(range(needed, longest + 1, 2), key=distortion)
    return (length - part) // 2, part, resized(part)


def _stored_target(spec: InputSpec, orientation: int) -> tuple[int, int]:
    return (spec.width, spec.height) if orientation >= 5 else (spec.height, spec.width)


def _resize_and_crop(pixels: Pixels, height: int, width: int, shorter_side: int) -> Pixels:
    scale = shorter_side / min(pixels.shape[:2])
    top, rows, high = window(pixels.shape[0], scale, height)
    left, columns, wide = window(pixels.shape[1], scale, width)
    resized = _resize(pixels[top : top + rows, left : left + columns], high, wide)
    top, left = (high - height) // 2, (wide - width) // 2
    return resized[top : top + height, left : left + width]


def _resize(pixels: Pixels, height: int, width: int) -> Pixels:
    """Halve each side while it stays long enough, then resize bilinearly.

    Bilinear interpolation reads two neighbours a side: at a half they are averaged, below it
    pixels would be skipped, and fine patterns would turn into coarse ones.
    """
    while (size := _halved(pixels, height, width)) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)
    if size != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return pixels


def _halved(pixels: Pixels, height: int, width: int) -> tuple[int, int]:
    rows, columns = pixels.shape[:2]
    return (
        rows // 2 if rows >= 2 * height else rows,
        columns // 2 if columns >= 2 * width else columns,
    )


def _orient(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation (EXIF 2.3, tag 274)."""
    if orientation in (5, 7):
        pixels = cv2.transpose(pixels)
    elif orientation in (6, 8):
        clockwise = orientation == 6
        turn = cv2.ROTATE_90_CLOCKWISE if clockwise else cv2.ROTATE_90_COUNTERCLOCKWISE
        pixels = cv2.rotate(pixels, turn)
    if orientation in _FLIPS:
        pixels = cv2.flip(pixels, _FLIPS[orientation])
    return pixels
