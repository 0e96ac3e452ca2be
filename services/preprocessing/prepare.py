"""Encoded picture → the uint8 pixels that a model takes.

| what | how |
|---|---|
| formats | JPEG (Huffman-coded, 8-bit), PNG, WebP, GIF, BMP, TIFF, by their first bytes |
| size | refused by the header, before decoding: see `Limits` |
| animation, pages | the first frame; of an animated PNG its default picture |
| orientation | EXIF 1 to 8 of JPEG, PNG, WebP and TIFF is undone; anything else counts as 1 |
| transparency | laid on white: alpha channel, palette entry or transparent colour |
| 16 bits a sample | the upper byte (of 12 bits, the upper eight) |
| palette, YCbCr, CMYK | to RGB; CMYK without a profile; in JPEG inverted, as Adobe writes it |
| colour profiles, gamma | ignored |
| grey for an RGB model | the same value three times |
| colour for a grey model | .299 R + .587 G + .114 B |
| resize | each side is halved while it stays long enough (JPEG: in its decoder), then bilinear |
| crop | exactly central |
| truncated | IMAGE_CORRUPT; a picture is never completed |
| float, signed or 32-bit samples | UNSUPPORTED_FORMAT |

Thread-safe; the decoders and the resizing release the interpreter's lock.
"""

import numpy as np
import numpy.typing as npt

from services.common.errors import ImageError
from services.common.models.input_spec import InputSpec
from services.common.transform import fit, least_size
from services.preprocessing.decode import decode
from services.preprocessing.header import Content, damaged
from services.preprocessing.headers import read_header, recognise
from services.preprocessing.limits import Limits


def prepare(content: Content, spec: InputSpec, limits: Limits) -> npt.NDArray[np.uint8]:
    """Return the picture as uint8, (height, width, channels), C-contiguous.

    `content` is the encoded picture, as bytes or as a contiguous view of bytes. Raises ImageError
    (IMAGE_EMPTY, IMAGE_TOO_LARGE, IMAGE_CORRUPT, UNSUPPORTED_FORMAT) and nothing else.
    """
    limits.check_bytes(len(content))
    form = recognise(content)
    try:
        header = read_header(content, form)
        limits.check(header)
        if header.truncated:
            raise damaged(form, "it ends before its last pixels")
        pixels = decode(header, least_size(spec, header.orientation), spec.channels)
        return fit(pixels, spec, header.orientation)
    except ImageError:
        raise
    except MemoryError as error:
        message = f"the {form} picture needs more memory than there is"
        raise ImageError(message, reason="IMAGE_TOO_LARGE") from error
    # The only broad one: parsers of hostile bytes raise what their authors did not foresee
    # (OSError, SyntaxError, ValueError, struct.error, zlib.error, ZeroDivisionError, cv2.error),
    # and whatever it is, it is about this picture and must not reach its batch-mates.
    except Exception as error:
        message = f"the {form} picture of {len(content)} bytes is damaged or incomplete"
        raise ImageError(message, reason="IMAGE_CORRUPT") from error
