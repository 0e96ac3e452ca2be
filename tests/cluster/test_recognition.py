"""Pictures in, labels out, through every service."""

import threading
from collections.abc import Callable

import grpc
import numpy as np
import pytest

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import tensor_pb2
from services.common.tensors import to_message
from services.training.data.dataset import Dataset
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import RunningCluster
from tests.reasons import reason_of, reason_of_call

TORN_TENSOR = tensor_pb2.Tensor(
    dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[9, 28, 28, 1], data=b"too few"
)


def _labels(response: recognition_pb2.RecognizeResponse) -> list[str]:
    return [result.classification.classes[0].label for result in response.results]


def test_all_held_out_digits(
    cluster: RunningCluster, digits: Dataset, digits_request: ImageRequest
) -> None:
    count = len(digits.test_labels)
    response = cluster.recognition.Recognize(digits_request(count), timeout=60)
    right = [
        label == digits.labels[truth]
        for label, truth in zip(_labels(response), digits.test_labels, strict=True)
    ]
    assert (response.model.name, response.model.version) == ("digits", 1)
    assert np.mean(right) >= 0.95


def test_a_big_request_is_split_and_keeps_its_order(
    cluster: RunningCluster, digits_request: ImageRequest
) -> None:
    options = recognition_pb2.RecognitionOptions(top_k=1, explain=True)
    whole = cluster.recognition.Recognize(digits_request(200, options=options), timeout=60)
    assert len(whole.executions) > 1
    assert sorted(p for execution in whole.executions for p in execution.images) == [*range(200)]
    request = digits_request(200)
    single = [
        _labels(
            cluster.recognition.Recognize(
                recognition_pb2.RecognizeRequest(model=request.model, images=[image]), timeout=60
            )
        )[0]
        for image in request.images[:40]
    ]
    assert _labels(whole)[:40] == single


def test_a_tensor_answers_as_its_pictures_do(
    cluster: RunningCluster, digits: Dataset, digits_request: ImageRequest
) -> None:
    request = digits_request(20)
    tensor = recognition_pb2.RecognizeRequest(
        model=request.model, tensor=to_message(digits.test_images[:20])
    )
    by_picture = cluster.recognition.Recognize(request, timeout=60)
    assert cluster.recognition.Recognize(tensor, timeout=60).results == by_picture.results


def test_top_k(cluster: RunningCluster, digits_request: ImageRequest) -> None:
    for top_k, expected in ((1, 1), (3, 3), (None, 5), (99, 10)):
        options = recognition_pb2.RecognitionOptions(top_k=top_k)
        response = cluster.recognition.Recognize(digits_request(options=options), timeout=60)
        scores = [score.score for score in response.results[0].classification.classes]
        assert len(scores) == expected
        assert scores == sorted(scores, reverse=True)


def test_stream(cluster: RunningCluster, digits_request: ImageRequest) -> None:
    wrong_model = recognition_pb2.ModelSelector(name="nothing")

    def requests() -> list[recognition_pb2.StreamRecognizeRequest]:
        return [
            recognition_pb2.StreamRecognizeRequest(
                id=str(number),
                request=digits_request(1 + number % 3)
                if number % 10
                else digits_request(model=wrong_model),
            )
            for number in range(200)
        ]

    responses = list(cluster.recognition.StreamRecognize(iter(requests()), timeout=60))
    assert {response.id for response in responses} == {str(number) for number in range(200)}
    for response in responses:
        number = int(response.id)
        if number % 10:
            assert len(response.response.results) == 1 + number % 3
        else:
            assert response.error.code == grpc.StatusCode.NOT_FOUND.value[0]


def test_models(cluster: RunningCluster) -> None:
    (model,) = cluster.recognition.ListModels(recognition_pb2.ListModelsRequest()).models
    assert (model.model.name, model.model.version, model.classes) == ("digits", 1, 10)
    assert len(model.shards) == 2
    selector = recognition_pb2.ModelSelector(name="digits", version=1)
    shown = cluster.recognition.GetModel(recognition_pb2.GetModelRequest(model=selector)).model
    assert list(shown.labels) == list("0123456789")


@pytest.mark.parametrize(
    ("change", "code", "reason"),
    [
        ({"images": []}, grpc.StatusCode.INVALID_ARGUMENT, "EMPTY_REQUEST"),
        ({"model": None}, grpc.StatusCode.INVALID_ARGUMENT, "MODEL_REQUIRED"),
        (
            {"model": recognition_pb2.ModelSelector(name="nothing")},
            grpc.StatusCode.NOT_FOUND,
            "MODEL_NOT_FOUND",
        ),
        (
            {"model": recognition_pb2.ModelSelector(name="digits", version=9)},
            grpc.StatusCode.NOT_FOUND,
            "MODEL_NOT_FOUND",
        ),
        (
            {"model": recognition_pb2.ModelSelector(name="digits", version=-1)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_VERSION",
        ),
        (
            {"options": recognition_pb2.RecognitionOptions(top_k=0)},
            grpc.StatusCode.INVALID_ARGUMENT,
            "INVALID_OPTION",
        ),
        (
            {"images": [recognition_pb2.Image(content=b"x")] * 1025},
            grpc.StatusCode.INVALID_ARGUMENT,
            "TOO_MANY_IMAGES",
        ),
        (
            {"images": [], "tensor": to_message(np.zeros((1, 28, 28, 1), np.float32))},
            grpc.StatusCode.INVALID_ARGUMENT,
            "WRONG_DTYPE",
        ),
        (
            {"images": [], "tensor": to_message(np.zeros((1, 28, 28, 3), np.uint8))},
            grpc.StatusCode.INVALID_ARGUMENT,
            "WRONG_SHAPE",
        ),
        (
            {
                "images": [],
                "tensor": tensor_pb2.Tensor(
                    dtype=tensor_pb2.DATA_TYPE_UINT8, shape=[9, 28, 28, 1], data=b"x"
                ),
            },
            grpc.StatusCode.INVALID_ARGUMENT,
            "WRONG_SHAPE",
        ),
        (
            {"tensor": to_message(np.zeros((1, 28, 28, 1), np.uint8))},
            grpc.StatusCode.INVALID_ARGUMENT,
            "AMBIGUOUS_REQUEST",
        ),
    ],
)
def test_what_is_wrong_with_a_request_is_said(
    cluster: RunningCluster,
    digits_request: ImageRequest,
    change: dict[str, object],
    code: grpc.StatusCode,
    reason: str,
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        cluster.recognition.Recognize(digits_request(**change), timeout=60)
    assert (caught.value.code(), reason_of_call(caught.value)) == (code, reason)
    assert caught.value.details()


def test_a_message_that_is_too_large_is_refused(
    cluster: RunningCluster, digits_request: ImageRequest
) -> None:
    huge = [recognition_pb2.Image(content=bytes(65 * 1024 * 1024))]
    with pytest.raises(grpc.RpcError) as caught:
        cluster.recognition.Recognize(digits_request(images=huge), timeout=60)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _labels(cluster.recognition.Recognize(digits_request(), timeout=60))


def test_one_bad_picture_harms_no_other(
    cluster: RunningCluster, digits_request: ImageRequest, digit_png: Callable[[int], bytes]
) -> None:
    bad = {
        1: (b"", "IMAGE_EMPTY"),
        3: (b"this is no picture", "UNSUPPORTED_FORMAT"),
        4: (digit_png(4)[:60], "IMAGE_CORRUPT"),
        7: (bytes(21 * 1024 * 1024), "IMAGE_TOO_LARGE"),
    }
    request = digits_request(10)
    good = cluster.recognition.Recognize(request, timeout=60)
    for place, (content, _) in bad.items():
        request.images[place].content = content
    mixed = cluster.recognition.Recognize(request, timeout=60)
    for place, (result, unharmed) in enumerate(zip(mixed.results, good.results, strict=True)):
        if place not in bad:
            assert result == unharmed
            continue
        assert reason_of(result.error) == bad[place][1]
        assert result.error.message


def test_a_call_without_a_deadline_gets_one(
    cluster: RunningCluster, digits_request: ImageRequest
) -> None:
    assert _labels(cluster.recognition.Recognize(digits_request()))


def test_a_deadline_that_is_too_short(
    cluster: RunningCluster, digits_request: ImageRequest
) -> None:
    for timeout in (0.0, 1e-6, 1e-3):
        with pytest.raises(grpc.RpcError) as caught:
            cluster.recognition.Recognize(digits_request(500), timeout=timeout)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert _labels(cluster.recognition.Recognize(digits_request(), timeout=60))


def test_cancelled_calls_harm_nobody(cluster: RunningCluster, digits_request: ImageRequest) -> None:
    request = digits_request(8)
    expected = _labels(cluster.recognition.Recognize(request, timeout=60))
    calls = [cluster.recognition.Recognize.future(request, timeout=60) for _ in range(100)]
    cancelled = [call.cancel() for call in calls[::2]]
    assert any(cancelled)
    assert [_labels(call.result()) for call in calls[1::2]] == [expected] * 50
    view = cluster.wait_for_view(
        lambda view: all(not instance.load.outstanding_images for instance in view.instances)
    )
    assert not view.missing


def test_many_callers_at_once(cluster: RunningCluster, digits_request: ImageRequest) -> None:
    request = digits_request(3)
    expected = _labels(cluster.recognition.Recognize(request, timeout=60))
    results: list[list[str]] = []

    def caller() -> None:
        results.extend(
            _labels(cluster.recognition.Recognize(request, timeout=60)) for _ in range(20)
        )

    threads = [threading.Thread(target=caller) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 320
