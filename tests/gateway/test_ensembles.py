"""Members run at the same time; what fails or is late is done without, and told."""

import asyncio
import io
from pathlib import Path

import grpc
import pytest
from PIL import Image

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.catalog import Wanted
from gateway.ensembles import ask_members, preparing
from gateway.requests import Output, Prepared
from services.common.deadline import Deadline
from services.common.errors import OverloadedError
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.rpc.leader import SCHEDULER_ROLE
from services.common.statuses import from_status
from services.common.tensors import to_message
from tests.fakes import POISON, MemoryRegistry
from tests.gateway.decoders import HELD, client_of, decoders
from tests.gateway.ensembles import (
    BOTH,
    LARGE,
    LARGE_SPEC,
    TWINS,
    ask_for,
    expected,
    output,
    pictures_of,
    recognize,
    repository_of_ensembles,
    stage,
    without,
)
from tests.gateway.whole import scores
from tests.in_process import RunningShard
from tests.inference.models import MODEL, pictures, scores_of
from tests.leaks import no_task_left  # noqa: F401
from tests.models.contents import SPEC
from tests.reasons import reason_of_call
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

EXPLAIN = recognition_pb2.RecognitionOptions(top_k=3, explain=True)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with three models and two ensembles."""
    return repository_of_ensembles(tmp_path)


@pytest.fixture
def apart(repository: ModelRepository, tmp_path: Path) -> tuple[ModelRepository, ModelRepository]:
    """Repositories of two shards: only the first serves MODEL, only the second LARGE."""
    return (
        without(repository, tmp_path / "first", LARGE),
        without(repository, tmp_path / "second", MODEL),
    )


def told(response: recognition_pb2.RecognizeResponse) -> list[tuple[str, str, list[int]]]:
    """Member, reason and pictures of each failure; partial says whether there are any."""
    assert response.partial == bool(response.failures)
    return [
        (
            str(ModelKey.from_message(failure.model)),
            from_status(failure.error).reason,
            list(failure.images),
        )
        for failure in response.failures
    ]


async def started(*engines: tuple[RunningShard, ModelKey]) -> None:
    """Wait until each of these models runs a batch on its shard."""
    await until(lambda: all(shard.engine_for(key).started.is_set() for shard, key in engines))


def only_large_fails() -> bytes:
    """A picture that poisons LARGE, which sees its first pixel, and not MODEL, which sees a mean
    of several."""
    picture = Image.new("L", (LARGE_SPEC.width, LARGE_SPEC.height), 200)
    picture.putpixel((0, 0), POISON)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


async def test_the_members_scores_are_combined(repository: ModelRepository) -> None:
    async with stage(repository) as staged:
        response = await recognize(staged, ask_for(BOTH, *pictures_of(50, 60), options=EXPLAIN))
        assert ModelKey.from_message(response.model) == BOTH
        assert [scores(result) for result in response.results] == [
            pytest.approx(expected(50, 1, 3)),
            pytest.approx(expected(60, 1, 3)),
        ]
        assert told(response) == []
        ran = sorted(
            (str(ModelKey.from_message(each.model)), list(each.images))
            for each in response.executions
        )
        assert ran == [("large:1", [0]), ("large:1", [1]), ("sums:1", [0]), ("sums:1", [1])]
        alone = await recognize(staged, ask_for(MODEL, *pictures_of(50), options=EXPLAIN))
        assert [ModelKey.from_message(each.model) for each in alone.executions] == [MODEL]
        assert told(alone) == []


async def test_members_run_at_the_same_time_on_different_shards(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(*apart) as staged:
        first, second = staged.shards
        first.engine_for(MODEL).open.clear()
        second.engine_for(LARGE).open.clear()
        asked = asyncio.create_task(
            recognize(staged, ask_for(BOTH, *pictures_of(50), options=EXPLAIN))
        )
        await started((first, MODEL), (second, LARGE))
        first.engine_for(MODEL).open.set()
        second.engine_for(LARGE).open.set()
        response = await asked
        assert scores(response.results[0]) == pytest.approx(expected(50, 1, 3))
        assert [each.shard for each in response.executions] == ["s1", "s2"]


async def test_members_are_placed_without_a_scheduler(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(*apart) as staged:
        staged.cluster.registry.appoint(SCHEDULER_ROLE)
        await until(lambda: not staged.gateway._dispatcher.connected)
        response = await recognize(staged, ask_for(BOTH, *pictures_of(50)))
        assert told(response) == []
        assert scores(response.results[0]) == pytest.approx(expected(50, 1, 3))


async def test_a_member_that_fails_on_one_picture_has_no_part_in_that_answer(
    repository: ModelRepository,
) -> None:
    async with stage(repository) as staged:
        (fine,) = pictures_of(50)
        response = await recognize(staged, ask_for(BOTH, fine, only_large_fails(), fine))
        assert told(response) == [("large:1", "MODEL_FAILED", [1])]
        assert scores(response.results[1])[0] > 150 * 20
        for place in (0, 2):
            assert scores(response.results[place]) == pytest.approx(expected(50, 1, 3))


async def test_what_all_members_fail_on_is_that_pictures_error(repository: ModelRepository) -> None:
    async with stage(repository) as staged:
        contents = [*pictures_of(POISON, 50), b"", b"GIF89a but no more"]
        response = await recognize(staged, ask_for(BOTH, *contents))
        assert told(response) == []
        assert scores(response.results[1]) == pytest.approx(expected(50, 1, 3))
        reasons = [from_status(response.results[place].error).reason for place in (0, 2, 3)]
        assert reasons == ["MODEL_FAILED", "IMAGE_EMPTY", "IMAGE_CORRUPT"]


async def test_a_member_that_nobody_serves_is_done_without(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(apart[0]) as staged:
        response = await recognize(staged, ask_for(BOTH, *pictures_of(50, 60)))
        assert told(response) == [("large:1", "MODEL_REFUSED", [0, 1])]
        assert [scores(result) for result in response.results] == [
            pytest.approx(expected(50, 1, 0)),
            pytest.approx(expected(60, 1, 0)),
        ]


async def test_when_all_members_fail_the_first_ones_error_is_the_requests(
    repository: ModelRepository, tmp_path: Path
) -> None:
    async with stage(without(repository, tmp_path / "none", MODEL, LARGE)) as staged:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await recognize(staged, ask_for(BOTH, *pictures_of(50)))
        assert reason_of_call(raised.value) == "MODEL_REFUSED"
        assert "sums:1" in (raised.value.details() or "")


async def test_a_member_that_is_late_is_done_without_and_told_so(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(*apart) as staged:
        late = staged.shards[1]
        late.engine_for(LARGE).open.clear()
        response = await recognize(staged, ask_for(BOTH, *pictures_of(50)), timeout=3)
        assert told(response) == [("large:1", "MEMBER_LATE", [0])]
        assert scores(response.results[0]) == pytest.approx(expected(50, 1, 0))
        await until(lambda: late.told == ["cancelled"])
        late.engine_for(LARGE).open.set()
        again = await recognize(staged, ask_for(BOTH, *pictures_of(50)))
        assert told(again) == []


async def test_from_then_on_the_first_answer_is_enough() -> None:
    comes = asyncio.Event()

    async def run(model: model_pb2.ModelDescriptor) -> tuple[Prepared, list[Output]]:
        if model.model.name == "refused":
            raise OverloadedError("too much")
        await (comes if model.model.name == "slow" else asyncio.Event()).wait()
        return Prepared(1, [0], [b""]), [output(0)]

    async def find(wanted: Wanted, _: Deadline) -> model_pb2.ModelDescriptor:
        model = model_pb2.ModelVersion(name=wanted.name, version=wanted.version)
        return model_pb2.ModelDescriptor(model=model)

    names = ("refused", "slow", "hangs")
    members = [
        model_pb2.EnsembleMember(model=model_pb2.ModelVersion(name=name, version=1))
        for name in names
    ]
    ensemble = model_pb2.Ensemble(members=members)
    asked = asyncio.create_task(ask_members(ensemble, find, run, 1, Deadline.after(0)))
    done, _ = await asyncio.wait([asked], timeout=0.05)
    assert not done
    comes.set()
    reasons = [None if each.error is None else each.error.reason for each in await asked]
    assert reasons == ["OVERLOADED", None, "MEMBER_LATE"]


async def test_without_any_answer_the_deadline_counts(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(*apart, default_deadline_s=1) as staged:
        for shard, key in zip(staged.shards, (MODEL, LARGE), strict=True):
            shard.engine_for(key).open.clear()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await recognize(staged, ask_for(BOTH, *pictures_of(50)), timeout=None)
        assert reason_of_call(raised.value) == "DEADLINE_EXCEEDED"
        await until(lambda: all(shard.told == ["deadline"] for shard in staged.shards))


async def test_a_caller_that_goes_takes_all_members_along(
    apart: tuple[ModelRepository, ModelRepository],
) -> None:
    async with stage(*apart) as staged:
        held = list(zip(staged.shards, (MODEL, LARGE), strict=True))
        for shard, key in held:
            shard.engine_for(key).open.clear()
        going = asyncio.create_task(recognize(staged, ask_for(BOTH, *pictures_of(50))))
        await started(*held)
        going.cancel()
        await until(lambda: all(shard.told == ["cancelled"] for shard in staged.shards))


async def test_a_member_for_which_there_is_no_room_is_done_without(
    repository: ModelRepository,
) -> None:
    async with stage(repository, max_queued_images=2) as staged:
        request = ask_for(TWINS, tensor=to_message(pictures(50, 60)))
        response = await recognize(staged, request)
        assert told(response) == [("twin:1", "OVERLOADED", [0, 1])]
        assert [scores(result) for result in response.results] == [
            dict(enumerate(scores_of(value)[0].tolist())) for value in (50, 60)
        ]


async def test_a_tensor_is_for_members_of_one_input(repository: ModelRepository) -> None:
    async with stage(repository) as staged:
        response = await recognize(staged, ask_for(TWINS, tensor=to_message(pictures(50))))
        assert scores(response.results[0]) == dict(enumerate(scores_of(50)[0].tolist()))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await recognize(staged, ask_for(BOTH, tensor=to_message(pictures(50))))
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert reason_of_call(raised.value) == "WRONG_SHAPE"
        assert "large:1 takes another" in (raised.value.details() or "")


async def test_pictures_are_decoded_once_for_each_input() -> None:
    registry = MemoryRegistry()
    small, large = (spec.to_message() for spec in (SPEC, LARGE_SPEC))
    async with (
        decoders(registry, "d") as (decoder,),
        client_of(registry) as (client, _),
        preparing(client, [HELD], Deadline.after(PATIENCE_S)) as prepare,
    ):
        refused, *members = [
            asyncio.create_task(prepare(spec)) for spec in (small, small, large, small)
        ]
        await until(lambda: len(decoder.decoder.calls) == 2)
        refused.cancel()
        decoder.decoder.gate.set()
        prepared = await asyncio.gather(*members)
        assert [each.pixels for each in prepared] == [[HELD[::-1]]] * 3
        assert decoder.decoder.calls == [[HELD]] * 2
        assert refused.cancelled()


async def test_an_ensemble_is_listed_with_its_members(repository: ModelRepository) -> None:
    async with stage(repository) as staged:
        listed = await staged.client.recognition.ListModels(recognition_pb2.ListModelsRequest())
        found = {model.model.name: model for model in listed.models}
        assert found["both"].ensemble.rule == model_pb2.ENSEMBLE_RULE_WEIGHTED
        assert [
            (ModelKey.from_message(member.model), member.weight)
            for member in found["both"].ensemble.members
        ] == [(MODEL, 0.25), (LARGE, 0.75)]
        assert found["both"].classes == 3
        assert not found["sums"].HasField("ensemble")
        (view,) = [each for each in (await staged.client.view()).instances if each.id == "s1"]
        assert {model.name for model in view.models} == {"both", "twins", "sums", "twin", "large"}
