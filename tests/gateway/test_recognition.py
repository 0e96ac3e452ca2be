"""The public service over gRPC, with a whole cluster behind it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from grpc_status import rpc_status

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import tensor_pb2
from google.rpc import error_details_pb2
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.statuses import DOMAIN, from_status
from services.common.tensors import to_message
from tests.gateway.whole import Client, Whole, png, request_for, scores, whole
from tests.in_process import RunningShard
from tests.inference.models import MODEL, pictures, scores_of
from tests.leaks import no_task_left  # noqa: F401
from tests.models.contents import CLASSES, SPEC
from tests.outgoing import Outgoing
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


def expected(value: int) -> dict[int, float]:
    """Index → score of a picture of one value."""
    return dict(enumerate(scores_of(value)[0].tolist()))


def reason_of(error: grpc.aio.AioRpcError) -> str:
    """The reason in the error's ErrorInfo."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed: needs metadata
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == DOMAIN
    return from_status(status).reason


async def started(shard: RunningShard) -> None:
    """Wait until a shard's device runs a batch."""
    assert await asyncio.to_thread(shard.engine.started.wait, PATIENCE_S)


async def test_pictures_are_recognised(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        response = await client.recognize(request_for(*(png(value) for value in range(50, 61))))
        assert ModelKey.from_message(response.model) == MODEL
        assert [scores(result) for result in response.results] == [
            expected(value) for value in range(50, 61)
        ]
        best = response.results[0].classification.classes[0]
        assert (best.label, best.index) == ("drei ✓", CLASSES - 1)
        assert not response.executions


async def test_a_tensor_is_recognised(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        request = request_for(tensor=to_message(pictures(1, 2, 3)))
        response = await client.recognize(request)
        assert [scores(result) for result in response.results] == [
            expected(value) for value in (1, 2, 3)
        ]


async def test_options_say_how_much_is_told(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        options = recognition_pb2.RecognitionOptions(top_k=1, explain=True)
        response = await client.recognize(
            request_for(*(png(value) for value in range(50, 56)), options=options)
        )
        assert all(list(scores(result)) == [CLASSES - 1] for result in response.results)
        positions = [list(execution.images) for execution in response.executions]
        assert positions == [[0, 1, 2, 3], [4, 5]]
        assert {execution.shard for execution in response.executions} == {"s"}
        assert {execution.attempts for execution in response.executions} == {1}


async def test_one_pictures_error_is_its_own(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        response = await client.recognize(
            request_for(png(50), b"", png(51), b"GIF89a but no more", png(52))
        )
        assert [scores(response.results[place]) for place in (0, 2, 4)] == [
            expected(value) for value in (50, 51, 52)
        ]
        errors = [from_status(response.results[place].error) for place in (1, 3)]
        assert [error.reason for error in errors] == ["IMAGE_EMPTY", "IMAGE_CORRUPT"]
        nothing = await client.recognize(request_for(b"", b""))
        assert [from_status(result.error).reason for result in nothing.results] == [
            "IMAGE_EMPTY",
            "IMAGE_EMPTY",
        ]


async def test_a_failing_model_is_the_error_of_its_pieces(repository: ModelRepository) -> None:
    async with whole(repository, piece_images=1) as (_, client, _):
        response = await client.recognize(request_for(png(50), png(13), png(51)))
        assert scores(response.results[0]) == expected(50)
        assert from_status(response.results[1].error).reason == "MODEL_FAILED"
        assert scores(response.results[2]) == expected(51)


ROW = list(SPEC.shape)
REFUSED = [
    (recognition_pb2.RecognizeRequest(), "MODEL_REQUIRED"),
    (request_for(), "EMPTY_REQUEST"),
    (request_for(*[b"x"] * 9), "TOO_MANY_IMAGES"),
    (request_for(tensor=to_message(pictures(*range(9)))), "TOO_MANY_IMAGES"),
    (request_for(tensor=to_message(pictures())), "EMPTY_REQUEST"),
    (request_for(tensor=to_message(pictures(1).astype("f4"))), "WRONG_DTYPE"),
    (request_for(tensor=tensor_pb2.Tensor()), "WRONG_DTYPE"),
    (request_for(tensor=to_message(pictures(1)[:, :, :1])), "WRONG_SHAPE"),
    (
        request_for(tensor=tensor_pb2.Tensor(dtype="DATA_TYPE_UINT8", shape=[2, *ROW], data=b"x")),
        "WRONG_SHAPE",
    ),
    (request_for(b"x", tensor=to_message(pictures(1))), "AMBIGUOUS_REQUEST"),
    (
        request_for(b"x", options=recognition_pb2.RecognitionOptions(top_k=0)),
        "INVALID_OPTION",
    ),
    (
        recognition_pb2.RecognizeRequest(
            model=recognition_pb2.ModelSelector(name=MODEL.name, version=0)
        ),
        "INVALID_VERSION",
    ),
]
MISSING = [
    recognition_pb2.ModelSelector(name="nothing"),
    recognition_pb2.ModelSelector(name=MODEL.name, version=2),
]


async def test_what_makes_no_sense_is_refused_with_its_reason(repository: ModelRepository) -> None:
    async with whole(repository, max_images=8) as (_, client, shard):
        for request, reason in REFUSED:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await client.recognize(request)
            assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert reason_of(raised.value) == reason
        for selector in MISSING:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await client.recognize(recognition_pb2.RecognizeRequest(model=selector))
            assert raised.value.code() is grpc.StatusCode.NOT_FOUND
            assert reason_of(raised.value) == "MODEL_NOT_FOUND"
        assert shard.engine.batches == []


async def test_a_bad_request_does_not_end_a_stream(repository: ModelRepository) -> None:
    async with whole(repository, max_images=8) as (_, client, _):
        bad = dict(enumerate(REFUSED))
        items = [(f"{number}", request) for number, (request, _) in bad.items()]
        items.append(("fine", request_for(png(50))))
        answers = {answer.id: answer async for answer in stream(client, items)}
        assert scores(answers.pop("fine").response.results[0]) == expected(50)
        for number, (_, reason) in bad.items():
            assert from_status(answers[f"{number}"].error).reason == reason


async def stream(
    client: Client,
    items: list[tuple[str, recognition_pb2.RecognizeRequest]],
    timeout: float | None = PATIENCE_S,
) -> AsyncIterator[recognition_pb2.StreamRecognizeResponse]:
    """Send requests over one stream and yield the answers as they come."""
    outgoing = Outgoing[recognition_pb2.StreamRecognizeRequest]()
    call = client.recognition.StreamRecognize(outgoing, timeout=timeout)
    for name, request in items:
        outgoing.put(recognition_pb2.StreamRecognizeRequest(id=name, request=request))
    outgoing.close()
    async for answer in call:
        yield answer


async def test_answers_of_a_stream_come_as_they_are_ready(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, shard):
        shard.engine.open.clear()
        outgoing = Outgoing[recognition_pb2.StreamRecognizeRequest]()
        call = client.recognition.StreamRecognize(outgoing, timeout=PATIENCE_S)
        for name, request in (("slow", request_for(png(50))), ("bad", request_for())):
            outgoing.put(recognition_pb2.StreamRecognizeRequest(id=name, request=request))
        assert (await call.read()).id == "bad"
        await started(shard)
        shard.engine.open.set()
        assert (await call.read()).id == "slow"
        outgoing.close()
        assert await call.read() is grpc.aio.EOF


async def test_a_stream_has_only_so_many_requests_in_hand(repository: ModelRepository) -> None:
    async with whole(repository, max_stream_requests=3) as (_, client, shard):
        items = [(f"{number}", request_for(png(50 + number))) for number in range(20)]
        answers = {answer.id: answer async for answer in stream(client, items)}
        for number in range(20):
            result = answers[f"{number}"].response.results[0]
            assert scores(result) == expected(50 + number)
        assert max(shard.engine.batches) <= 3


async def test_a_call_without_a_deadline_gets_one(repository: ModelRepository) -> None:
    async with whole(repository, default_deadline_s=0.3) as (_, client, shard):
        shard.engine.open.clear()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.recognize(request_for(png(50)), timeout=None)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert reason_of(raised.value) == "DEADLINE_EXCEEDED"
        late = stream(client, [("x", request_for(png(50)))], timeout=None)
        (answer,) = [answer async for answer in late]
        assert from_status(answer.error).reason == "DEADLINE_EXCEEDED"
        shard.engine.open.set()
        assert (await client.recognize(request_for(png(50)))).results


async def test_no_deadline_is_longer_than_allowed(repository: ModelRepository) -> None:
    async with whole(repository, max_deadline_s=0.3) as (_, client, shard):
        shard.engine.open.clear()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.recognize(request_for(png(50)), timeout=3600)
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        shard.engine.open.set()


async def test_too_much_at_once_is_refused_with_a_hint(repository: ModelRepository) -> None:
    async with whole(repository, max_queued_images=4) as (_, client, shard):
        shard.engine.open.clear()
        first = asyncio.create_task(client.recognize(request_for(*[png(50)] * 4)))
        await started(shard)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.recognize(request_for(png(51)))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(raised.value) == "OVERLOADED"
        status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
        assert status is not None
        assert status.details[1].Is(error_details_pb2.RetryInfo.DESCRIPTOR)
        shard.engine.open.set()
        assert len((await first).results) == 4


async def test_a_client_that_goes_leaves_nothing_behind(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, shard):
        shard.engine.open.clear()
        going = asyncio.create_task(client.recognize(request_for(png(50))))
        await started(shard)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        shard.engine.open.set()
        response = await client.recognize(request_for(png(51)))
        assert scores(response.results[0]) == expected(51)


async def test_a_model_whose_only_shard_died_is_waited_for(repository: ModelRepository) -> None:
    async with whole(repository) as (cluster, client, shard):
        await shard.die()
        waiting = asyncio.create_task(client.recognize(request_for(png(50))))
        await cluster.shard("heir")
        assert scores((await waiting).results[0]) == expected(50)


async def test_models_are_listed_and_described(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        listed = await client.recognition.ListModels(recognition_pb2.ListModelsRequest())
        (model,) = listed.models
        assert ModelKey.from_message(model.model) == MODEL
        assert (model.classes, list(model.labels), list(model.shards)) == (CLASSES, [], ["s"])
        assert (model.input.height, model.input.width, model.input.channels) == SPEC.shape
        described = await client.recognition.GetModel(
            recognition_pb2.GetModelRequest(model=recognition_pb2.ModelSelector(name=MODEL.name))
        )
        assert list(described.model.labels) == ["one", "two", "drei ✓"]
        assert described.model.engine == "numpy"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.recognition.GetModel(
                recognition_pb2.GetModelRequest(model=recognition_pb2.ModelSelector(name="x"))
            )
        assert reason_of(raised.value) == "MODEL_NOT_FOUND"


async def test_a_stopping_gateway_answers_what_it_has(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, shard):
        shard.engine.open.clear()
        outgoing = Outgoing[recognition_pb2.StreamRecognizeRequest]()
        call = client.recognition.StreamRecognize(outgoing, timeout=PATIENCE_S)
        outgoing.put(recognition_pb2.StreamRecognizeRequest(id="x", request=request_for(png(50))))
        unary = asyncio.create_task(client.recognize(request_for(png(51))))
        await until(lambda: shard.device.load.outstanding_images == 2)
        stopping = asyncio.create_task(client.gateway.stop(PATIENCE_S))
        shard.engine.open.set()
        assert (await call.read()).id == "x"
        assert await call.read() is grpc.aio.EOF
        outgoing.close()
        assert scores((await unary).results[0]) == expected(51)
        await asyncio.wait_for(stopping, PATIENCE_S)


async def test_without_shards_the_model_is_not_there(repository: ModelRepository) -> None:
    async with Whole(repository) as cluster:
        client = await cluster.gateway()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.recognize(request_for(png(50)))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
