"""What the header of an encoded picture says, whatever its format."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from services.common.errors import ImageError

Content: TypeAlias = bytes | memoryview
"""An encoded picture, or a part of one, as bytes."""


class Format(StrEnum):
    """The formats that are decoded."""

    JPEG = "JPEG"
    PNG = "PNG"
    WEBP = "WebP"
    GIF = "GIF"
    BMP = "BMP"
    TIFF = "TIFF"


@dataclass(frozen=True, slots=True)
class Header:
    """The facts about the first picture of a file that decide whether and how it is decoded."""

    format: Format
    width: int
    """As stored, before `orientation`, in pixels."""
    height: int
    """As stored, before `orientation`, in pixels."""
    essence: Content
    """The file reduced to what its first picture's pixels depend on; all that a decoder sees.

    Comments, colour profiles, EXIF, later frames and pages never reach a decoder: they are where
    decoders spend time and memory on what nobody asked for, and where they warn.
    """
    orientation: int = 1
    """EXIF orientation, 1 to 8."""
    plain: bool = False
    """8-bit grey or RGB samples and nothing else: no alpha, palette or CMYK."""
    channels: int = 3
    """Samples a pixel of a plain picture: 1 or 3."""
    depth: int = 8
    """Bits a sample."""
    white_is_zero: bool = False
    """Grey samples count from white."""
    padded_pixels: int = 0
    """Pixels in all tiles, where a picture is tiled."""
    scans: int = 1
    """Passes over the picture."""
    truncated: bool = False
    """The file is too short for the pixels that it announces."""


def damaged(form: Format, why: str) -> ImageError:
    """Return the error for a picture whose data contradict its format."""
    return ImageError(f"the {form} picture is damaged: {why}", reason="IMAGE_CORRUPT")


def unsupported(form: Format, why: str) -> ImageError:
    """Return the error for a picture of a kind that is not decoded."""
    return ImageError(f"the {form} picture is not supported: {why}", reason="UNSUPPORTED_FORMAT")


def joined(whole: Content, parts: list[memoryview]) -> Content:
    """Return the parts of `whole` in one piece: `whole` itself where nothing was left out."""
    if sum(part.nbytes for part in parts) == len(whole):
        return whole
    return b"".join(parts)
