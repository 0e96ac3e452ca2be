"""Tensors survive the way through a message; contradictions are refused."""

import contextlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facet.type.v1 import tensor_pb2
from services.common.errors import InvalidRequestError
from services.common.tensors import to_array, to_message
from tests.repeatable import repeatable

DTYPES = st.sampled_from(["u1", "<f4", ">f4", "<i4", ">i4", "<i8", ">i8"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0))
)


@repeatable
@given(ARRAYS)
def test_an_array_survives_a_message(array: npt.NDArray[Any]) -> None:
    message = tensor_pb2.Tensor.FromString(to_message(array).SerializeToString())
    again = to_array(message)
    assert again.dtype == array.dtype.newbyteorder("<")
    np.testing.assert_array_equal(again, array)


@repeatable
@given(ARRAYS)
def test_a_view_is_sent_as_what_it_shows(array: npt.NDArray[Any]) -> None:
    np.testing.assert_array_equal(to_array(to_message(array.T)), array.T)


def test_an_array_over_a_message_is_read_only() -> None:
    assert not to_array(to_message(np.zeros(3, np.float32))).flags.writeable


@pytest.mark.parametrize("dtype", ["f8", "f2", "u2", "?", "c8", "U3", "O"])
def test_a_type_that_no_tensor_has_is_a_fault_of_the_caller(dtype: str) -> None:
    with pytest.raises(TypeError, match="cannot carry"):
        to_message(np.zeros(2, dtype))


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ([2, 3], 5),
        ([2, 3], 7),
        ([], 0),
        ([0], 1),
        ([-1], 1),
        ([-1, -6], 6),
        ([0, -1], 0),
        ([1 << 62, 4], 0),
        ([1 << 62, 1 << 62], 0),
        ([0, 1 << 62, 1 << 62], 0),
        ([1] * 65, 1),
        ([0] * 1000, 0),
    ],
)
def test_bytes_that_do_not_fit_the_shape_are_refused(shape: list[int], size: int) -> None:
    tensor = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_UINT8, shape=shape, data=bytes(size))
    with pytest.raises(InvalidRequestError) as raised:
        to_array(tensor)
    assert raised.value.reason == "WRONG_SHAPE"


@repeatable
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    st.binary(max_size=16),
    st.integers(0, 9),
)
def test_any_message_is_an_array_or_refused(shape: list[int], data: bytes, dtype: int) -> None:
    tensor = tensor_pb2.Tensor(shape=shape, data=data)
    tensor.MergeFromString(bytes([8, dtype]))  # the setter refuses what the wire may bring
    with contextlib.suppress(InvalidRequestError):
        array = to_array(tensor)
        assert array.shape == tuple(shape)
        assert array.tobytes() == data


@pytest.mark.parametrize("dtype", [0, 99])
def test_a_type_that_is_not_known_is_refused(dtype: int) -> None:
    tensor = tensor_pb2.Tensor.FromString(bytes([8, dtype]))
    with pytest.raises(InvalidRequestError) as raised:
        to_array(tensor)
    assert raised.value.reason == "WRONG_DTYPE"
