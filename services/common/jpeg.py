"""JPEG files to pixels, the same way in training and in serving."""

import numpy as np
import numpy.typing as npt
import simplejpeg


def decode_jpeg(
    content: bytes | memoryview, least: tuple[int, int], *, grey: bool
) -> npt.NDArray[np.uint8] | None:
    """Return the pixels of a file, at `least` (height, width) or above; None when it is not sound.

    uint8 [height, width] where `grey`, otherwise RGB [height, width, 3].
    """
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(
            content,
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
