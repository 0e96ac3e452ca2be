"""What one picture may cost, checked against its header before anything is decoded."""

from dataclasses import dataclass
from typing import Final

from services.common.errors import ImageError
from services.preprocessing.header import Header

MOST_PIXELS: Final = 89_478_485
"""Above it Pillow warns of a decompression bomb (PIL.Image.MAX_IMAGE_PIXELS)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one encoded picture.

    There is none for frames: only the first one is ever read. While it is decoded, a picture
    takes up to 16 bytes of memory a pixel (WebP with transparency; 8 otherwise).
    """

    max_bytes: int = 20 * 1024 * 1024
    """Size of the encoded picture, in bytes."""
    max_pixels: int = 50_000_000
    """Width times height of the encoded picture, padding of TIFF tiles included, in pixels."""
    max_side: int = 65_535
    """Width and height of the encoded picture, in pixels."""
    max_scanned_pixels: int = 1_000_000_000
    """Pixels times the scans of a progressive JPEG picture: every scan is a pass over them all,
    however few bytes it has. Encoders make about ten."""

    def __post_init__(self) -> None:
        """Refuse a limit above which Pillow warns of its own accord."""
        if self.max_pixels > MOST_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}; it can be at most {MOST_PIXELS}")

    def check_bytes(self, size: int) -> None:
        """Raise ImageError (IMAGE_EMPTY, IMAGE_TOO_LARGE) unless `size` bytes are acceptable."""
        if size == 0:
            raise ImageError("the picture has no bytes", reason="IMAGE_EMPTY")
        if size > self.max_bytes:
            raise _too_large(f"the picture has {size} bytes; the limit is {self.max_bytes}")

    def check(self, header: Header) -> None:
        """Raise ImageError (IMAGE_EMPTY, IMAGE_TOO_LARGE) unless the header is acceptable."""
        picture = f"the {header.format} picture is {header.width} x {header.height} pixels"
        if header.width == 0 or header.height == 0:
            raise ImageError(f"{picture}: it has none", reason="IMAGE_EMPTY")
        if max(header.width, header.height) > self.max_side:
            raise _too_large(f"{picture}; the limit for a side is {self.max_side}")
        if header.width * header.height > self.max_pixels:
            raise _too_large(f"{picture}; the limit is {self.max_pixels} in all")
        if header.padded_pixels > self.max_pixels:
            padded = f"{picture} but {header.padded_pixels} with the padding of its tiles"
            raise _too_large(f"{padded}; the limit is {self.max_pixels}")
        if header.scans * header.width * header.height > self.max_scanned_pixels:
            scanned = f"{picture} in {header.scans} scans"
            raise _too_large(f"{scanned}; the limit for their product is {self.max_scanned_pixels}")


def _too_large(message: str) -> ImageError:
    return ImageError(message, reason="IMAGE_TOO_LARGE")
