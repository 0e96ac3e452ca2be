"""IDX files, the format of MNIST: a magic number, the sizes, and then the bytes of an array.

The first two bytes are 0, the third is the type (8: unsigned bytes, the only one read here), the
fourth the number of dimensions; each size is a big-endian uint32
(Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits").
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError

UNSIGNED_BYTES: Final = 8
_GZIP: Final = b"\x1f\x8b"


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or plain.

    Raises InvalidRequestError, naming the file: UNREADABLE_DATASET when it cannot be read,
    CORRUPT_DATASET when it is torn, too long, or not such a file of that many dimensions.
    """
    try:
        content = path.read_bytes()
        if content.startswith(_GZIP):
            content = gzip.decompress(content)
    # EOFError and zlib.error come from a torn archive, BadGzipFile from a damaged one.
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _corrupt(path, f"its gzip archive is torn ({error})") from error
    except OSError as error:
        raise InvalidRequestError(
            f"cannot read {path}: {error.strerror or error}", reason="UNREADABLE_DATASET"
        ) from error
    return _parse(path, content, dimensions)


def _parse(path: Path, content: bytes, dimensions: int) -> npt.NDArray[np.uint8]:
    head = 4 + 4 * dimensions
    magic = content[:4]
    if magic != bytes((0, 0, UNSIGNED_BYTES, dimensions)):
        raise _corrupt(
            path, f"it is no IDX file of {dimensions} dimensions: it begins with {magic.hex(' ')}"
        )
    if len(content) < head:
        raise _corrupt(path, "it ends before its sizes")
    sizes = struct.unpack_from(f">{dimensions}I", content, 4)
    length, expected = len(content) - head, math.prod(sizes)
    if length != expected:
        size = " x ".join(map(str, sizes))
        raise _corrupt(path, f"{size} values were announced, {expected} bytes, and it has {length}")
    return np.frombuffer(content, np.uint8, offset=head).reshape(sizes)


def _corrupt(path: Path, why: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path} is damaged: {why}", reason="CORRUPT_DATASET")
