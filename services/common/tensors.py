"""Tensor messages ⇄ numpy arrays."""

import contextlib
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from facet.type.v1 import tensor_pb2
from services.common.errors import InvalidRequestError

_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    tensor_pb2.DATA_TYPE_UINT8: np.dtype("u1"),
    tensor_pb2.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    tensor_pb2.DATA_TYPE_INT32: np.dtype("<i4"),
    tensor_pb2.DATA_TYPE_INT64: np.dtype("<i8"),
}
_CODES: Final = {dtype: code for code, dtype in _DTYPES.items()}


def to_message(array: npt.NDArray[Any]) -> tensor_pb2.Tensor:
    """Return the array (uint8, float32, int32 or int64; any shape) as a message."""
    code = _CODES.get(array.dtype.newbyteorder("<"))
    if code is None:
        raise TypeError(f"a tensor cannot carry {array.dtype}")
    contiguous = np.ascontiguousarray(array, dtype=_DTYPES[code])
    return tensor_pb2.Tensor(
        dtype=code,  # type: ignore[arg-type]  # a plain int is a valid enum value
        shape=array.shape,
        data=contiguous.tobytes(),
    )


def to_array(tensor: tensor_pb2.Tensor) -> npt.NDArray[Any]:
    """Return the message as a read-only array over its own bytes.

    Raises InvalidRequestError (WRONG_DTYPE, WRONG_SHAPE) when the message contradicts itself.
    """
    dtype = _DTYPES.get(tensor.dtype)
    if dtype is None:
        raise InvalidRequestError(
            "the tensor's dtype must be one of "
            + ", ".join(tensor_pb2.DataType.Name(code) for code in _DTYPES),
            reason="WRONG_DTYPE",
        )
    shape = tuple(tensor.shape)
    data = tensor.data
    if min(shape, default=0) >= 0 and math.prod(shape) * dtype.itemsize == len(data):
        # numpy bounds the dimensions too, even those of an array without elements.
        with contextlib.suppress(ValueError):
            return np.frombuffer(data, dtype).reshape(shape)
    raise InvalidRequestError(
        f"a {dtype.name} tensor of shape {list(shape)} cannot have {len(data)} bytes",
        reason="WRONG_SHAPE",
    )
