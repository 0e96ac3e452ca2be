"""What a request must be like: each refusal has its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2, tensor_pb2
from gateway.catalog import Wanted
from gateway.checks import Limits, check_one_source, check_options, check_selector
from gateway.requests import DEFAULT_TOP_K, Options
from services.common.errors import DeadlineExceededError, InvalidRequestError
from tests.repeatable import repeatable

LIMITS = Limits(max_images=4, default_deadline_s=10, max_deadline_s=60)
SPEC = model_pb2.InputSpec(height=2, width=3, channels=1)


def reason_of(raised: pytest.ExceptionInfo[InvalidRequestError]) -> str:
    """The reason of a refusal."""
    return raised.value.reason


def test_a_selector_names_a_model_and_perhaps_a_version_or_a_label() -> None:
    assert check_selector(recognition_pb2.ModelSelector(name="cats")) == Wanted("cats")
    assert check_selector(recognition_pb2.ModelSelector(name="cats", version=3)) == Wanted(
        "cats", 3
    )
    assert check_selector(recognition_pb2.ModelSelector(name="cats", label="new")) == Wanted(
        "cats", label="new"
    )


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        (recognition_pb2.ModelSelector(), "MODEL_REQUIRED"),
        (recognition_pb2.ModelSelector(version=1), "MODEL_REQUIRED"),
        (recognition_pb2.ModelSelector(name="cats", version=0), "INVALID_VERSION"),
        (recognition_pb2.ModelSelector(name="cats", version=-1), "INVALID_VERSION"),
        (recognition_pb2.ModelSelector(name="cats", version=1, label="new"), "AMBIGUOUS_MODEL"),
    ],
)
def test_a_selector_that_names_nothing_is_refused(
    selector: recognition_pb2.ModelSelector, reason: str
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        check_selector(selector)
    assert reason_of(raised) == reason


@pytest.mark.parametrize(
    ("given_s", "at_most_s"), [(None, 10), (1, 1), (60, 60), (61, 60), (1e9, 60)]
)
def test_every_call_has_a_deadline(given_s: float | None, at_most_s: float) -> None:
    deadline = LIMITS.deadline(given_s)
    assert at_most_s - 1 < deadline.remaining_s <= at_most_s


@pytest.mark.parametrize("given_s", [0, -1])
def test_a_call_that_is_late_already_is_refused(given_s: float) -> None:
    with pytest.raises(DeadlineExceededError):
        LIMITS.deadline(given_s)


def test_options_have_defaults() -> None:
    assert check_options(recognition_pb2.RecognitionOptions()) == Options(DEFAULT_TOP_K, False)
    given = recognition_pb2.RecognitionOptions(top_k=2**32 - 1, explain=True)
    assert check_options(given) == Options(2**32 - 1, True)


def test_at_least_one_class_must_be_wanted() -> None:
    with pytest.raises(InvalidRequestError) as raised:
        check_options(recognition_pb2.RecognitionOptions(top_k=0))
    assert reason_of(raised) == "INVALID_OPTION"


def request_with(images: int) -> recognition_pb2.RecognizeRequest:
    """A request with so many pictures."""
    return recognition_pb2.RecognizeRequest(
        images=[recognition_pb2.Image(content=b"%d" % number) for number in range(images)]
    )


def test_pictures_keep_their_order() -> None:
    assert LIMITS.images(request_with(4)) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize(("images", "reason"), [(0, "EMPTY_REQUEST"), (5, "TOO_MANY_IMAGES")])
def test_the_number_of_pictures_is_limited(images: int, reason: str) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        LIMITS.images(request_with(images))
    assert reason_of(raised) == reason


def test_a_request_has_one_source() -> None:
    check_one_source(request_with(1))
    both = request_with(1)
    both.tensor.shape.append(1)
    with pytest.raises(InvalidRequestError) as raised:
        check_one_source(both)
    assert reason_of(raised) == "AMBIGUOUS_REQUEST"


def tensor(shape: list[int], size: int, dtype: int = 1) -> tensor_pb2.Tensor:
    """A tensor, maybe one that contradicts itself."""
    message = tensor_pb2.Tensor(shape=shape, data=bytes(size))
    message.MergeFromString(bytes([8, dtype]))  # the setter refuses what the wire may bring
    return message


@repeatable
@given(st.binary(min_size=6, max_size=24))
def test_a_tensor_is_taken_apart_into_pictures(data: bytes) -> None:
    data = data[: len(data) // 6 * 6]
    count = len(data) // 6
    message = tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[count, 2, 3, 1], data=data)
    prepared = LIMITS.tensor(message, SPEC)
    assert prepared.count == count
    assert list(prepared.positions) == list(range(count))
    assert list(prepared.pixels) == [data[first : first + 6] for first in range(0, len(data), 6)]
    assert prepared.errors == {}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (tensor([1, 2, 3, 1], 24, dtype=tensor_pb2.DATA_TYPE_FLOAT32), "WRONG_DTYPE"),
        (tensor([1, 2, 3, 1], 6, dtype=0), "WRONG_DTYPE"),
        (tensor([1, 2, 3, 1], 6, dtype=99), "WRONG_DTYPE"),
        (tensor([1, 3, 2, 1], 6), "WRONG_SHAPE"),
        (tensor([1, 2, 3], 6), "WRONG_SHAPE"),
        (tensor([2, 3, 1], 6), "WRONG_SHAPE"),
        (tensor([1, 2, 3, 1], 5), "WRONG_SHAPE"),
        (tensor([1, 2, 3, 1], 12), "WRONG_SHAPE"),
        (tensor([-1, 2, 3, 1], 6), "WRONG_SHAPE"),
        (tensor([2**62, 2, 3, 1], 6), "WRONG_SHAPE"),
        (tensor([], 0), "WRONG_SHAPE"),
        (tensor([], 6), "WRONG_SHAPE"),
        (tensor([0, 2, 3, 1], 0), "EMPTY_REQUEST"),
        (tensor([5, 2, 3, 1], 30), "TOO_MANY_IMAGES"),
    ],
)
def test_a_tensor_that_is_not_the_models_input_is_refused(
    message: tensor_pb2.Tensor, reason: str
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        LIMITS.tensor(message, SPEC)
    assert reason_of(raised) == reason
