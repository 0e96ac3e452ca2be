"""Decodes any picture with Pillow: the reference for the fast decoders, and what they can't do.

The plug-in classes are used directly: `Image.open` would try others, and turns some JPEG files
into something else (MPO) with a warning.
"""

from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from services.preprocessing.header import Format, Header, damaged, unsupported

_PLUGINS: Final[dict[Format, type[ImageFile]]] = {
    Format.JPEG: JpegImageFile,
    Format.PNG: PngImageFile,
    Format.WEBP: WebPImageFile,
    Format.GIF: GifImageFile,
    Format.BMP: BmpImageFile,
    Format.TIFF: TiffImageFile,
}

BAND: Final = 1 << 20
"""Pixels that are converted at a time."""


def decode(header: Header, least: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """Return a picture's pixels, grey (height, width) or RGB (height, width, 3), uint8.

    A JPEG picture may come out at a half, a quarter or an eighth of its size, but no smaller than
    `least` (height, width). Raises ImageError, and whatever Pillow raises on damaged data.
    """
    picture = _opened(header)
    if (picture.width, picture.height) != (header.width, header.height):
        raise damaged(header.format, "it states two different sizes")
    if header.format == Format.JPEG:
        picture.draft(None, (least[1], least[0]))
    picture.load()
    return _in_bands(picture, header)


def _in_bands(picture: Image.Image, header: Header) -> npt.NDArray[np.uint8]:
    """Convert a band of rows at a time: intermediate copies of large pictures are gigabytes."""
    width, height = picture.size
    rows = max(1, BAND // width)
    if rows >= height:
        return _converted(picture, header)
    first = _converted(picture.crop((0, 0, width, rows)), header)
    pixels = np.empty((height, *first.shape[1:]), np.uint8)
    pixels[:rows] = first
    for top in range(rows, height, rows):
        bottom = min(top + rows, height)
        pixels[top:bottom] = _converted(picture.crop((0, top, width, bottom)), header)
    return pixels


def _converted(picture: Image.Image, header: Header) -> npt.NDArray[np.uint8]:
    if picture.mode.startswith("I;16"):
        return _from_16_bits(picture, header)
    if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA", "La", "RGBa"):
        return _on_white(picture, header)
    if picture.mode in ("1", "L"):
        return np.asarray(picture.convert("L"))
    if picture.mode in ("RGB", "P", "CMYK", "YCbCr"):
        return np.asarray(picture.convert("RGB"))
    raise unsupported(header.format, f"its pixels are of the kind {picture.mode}")


def _opened(header: Header) -> ImageFile:
    try:
        return _PLUGINS[header.format](BytesIO(header.essence))
    except (OSError, SyntaxError) as error:
        if header.format in (Format.BMP, Format.TIFF):
            # Their headers were read once already and are in order: it is the layout of samples.
            raise unsupported(header.format, "it has an unusual layout of pixels") from error
        raise


def _from_16_bits(picture: Image.Image, header: Header) -> npt.NDArray[np.uint8]:
    samples = np.asarray(picture)
    grey = (samples >> (header.depth - 8)).astype(np.uint8)
    if header.white_is_zero:
        grey = 255 - grey
    if (transparent := picture.info.get("transparency")) is not None:
        grey[samples == transparent] = 255
    return grey


def _on_white(picture: Image.Image, header: Header) -> npt.NDArray[np.uint8]:
    if header.depth == 16 and isinstance(transparent := picture.info.get("transparency"), tuple):
        # Pillow keeps the upper byte of each sample, but all of the transparent colour.
        picture.info["transparency"] = tuple(sample >> 8 for sample in transparent)
    if picture.mode in ("La", "RGBa"):
        picture = picture.convert(picture.mode.upper())
    layer = picture.convert("RGBA")
    white = Image.new("RGB", layer.size, "white")
    white.paste(layer, mask=layer)
    return np.asarray(white)
