"""Recognises a picture's format by its first bytes and reads its header.

No decoder is asked what it makes of the bytes: what is not on the list is refused.
"""

from collections.abc import Callable
from typing import Final

from services.common.errors import ImageError
from services.preprocessing.formats import bmp, gif, jpeg, png, tiff, webp
from services.preprocessing.header import Content, Format, Header

_READERS: Final[dict[Format, Callable[[Content], Header]]] = {
    Format.JPEG: jpeg.read,
    Format.PNG: png.read,
    Format.WEBP: webp.read,
    Format.GIF: gif.read,
    Format.BMP: bmp.read,
    Format.TIFF: tiff.read,
}
# What else is sent often: where its first bytes stand, and its name, for a better message.
_OTHERS: Final = (
    (0, b"\x00\x00\x01\x00", "an icon (ICO)"),
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop document"),
    (0, b"II+\x00", "a BigTIFF picture"),
    (0, b"MM\x00+", "a BigTIFF picture"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftypavis", "an AVIF picture"),
    (4, b"ftyphei", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIC picture"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "an XML document"),
)


def recognise(content: Content) -> Format:
    """Return the format by the first bytes; raises ImageError (UNSUPPORTED_FORMAT)."""
    start = bytes(content[:16])
    if start.startswith(b"\xff\xd8\xff"):
        return Format.JPEG
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return Format.PNG
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return Format.WEBP
    if start.startswith((b"GIF87a", b"GIF89a")):
        return Format.GIF
    if start.startswith(b"BM"):
        return Format.BMP
    if start.startswith((b"II*\x00", b"MM\x00*")):
        return Format.TIFF
    for at, magic, name in _OTHERS:
        if start.startswith(magic, at):
            raise _not_supported(name)
    raise _not_supported(f"a file that begins with the bytes {start[:4].hex(' ')}")


def read_header(content: Content, form: Format) -> Header:
    """Return the header of a picture of that format.

    Raises ImageError; IndexError, ValueError or struct.error mean damaged data too.
    """
    return _READERS[form](content)


def _not_supported(what: str) -> ImageError:
    known = "JPEG, PNG, WebP, GIF, BMP and TIFF are"
    return ImageError(f"{what} is not supported; {known}", reason="UNSUPPORTED_FORMAT")
