"""Which pictures are held out, told from the pictures alone.

By its content, a picture stays on its side of the split whatever its file is called and whatever
else is in the folder; two copies of one are always on the same side.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

HELD_OUT_SHARE: Final = 0.2

_LIMIT: Final = int(HELD_OUT_SHARE * 2**64)


def held_out(digests: Sequence[bytes]) -> npt.NDArray[np.bool_]:
    """Return which pictures of one class are held out, by the sha256 of their files: bool [n].

    About a fifth. At least one and not all, when there are two different ones or more: the one
    with the least digest always is, and the one with the greatest never.
    """
    least, greatest = min(digests), max(digests)
    return np.array(
        [
            digest != greatest and (digest == least or int.from_bytes(digest[:8], "big") < _LIMIT)
            for digest in digests
        ]
    )
