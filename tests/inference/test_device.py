"""The device runs one batch after the other and answers every part."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from facet.inference.v1 import inference_pb2
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
)
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.common.statuses import from_status
from services.common.tensors import to_array
from services.inference.batch import Part
from services.inference.device import Device
from services.inference.host import ModelHost
from tests.fakes import POISON, NumpyEngine
from tests.inference.models import (
    MODEL,
    engine_of,
    host_of,
    load,
    pictures,
    repository_in,
    scores_of,
)
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


class Bench:
    """A device that runs, and its only model's engine."""

    def __init__(self, host: ModelHost) -> None:
        self.device = Device(host.find)
        self.engine: NumpyEngine = engine_of(host.find(MODEL))
        self.finished = 0
        self.ran: list[Ran | None] = []

    def submit(self, *parts: Part) -> None:
        """Queue the parts of one grant."""
        self.device.submit(list(parts), self._finish)

    def _finish(self, ran: Ran | None) -> None:
        self.finished += 1
        self.ran.append(ran)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A device with one model, on a real host."""
    repository = repository_in(tmp_path)
    host = host_of(repository, partial(load, repository))
    await host.refresh()
    bench = Bench(host)
    running = asyncio.create_task(bench.device.run())
    yield bench
    bench.engine.open.set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    bench.device.close()
    host.close()


def part(*pieces: tuple[int, ...], model: ModelKey = MODEL, seconds: float = PATIENCE_S) -> Part:
    """One dispatcher's part; each piece is the values of its pictures."""
    request = inference_pb2.InferRequest(
        model=model.to_message(),
        pieces=[
            inference_pb2.Piece(
                piece_id=number, images=len(values), pixels=[pictures(*values).tobytes()]
            )
            for number, values in enumerate(pieces, 1)
        ],
    )
    return Part(request, Deadline.after(seconds), asyncio.get_running_loop().create_future())


def check_scores(response: inference_pb2.InferResponse, *pieces: tuple[int, ...]) -> None:
    """The response has the scores of these pieces."""
    assert [output.piece_id for output in response.outputs] == [*range(1, len(pieces) + 1)]
    for output, values in zip(response.outputs, pieces, strict=True):
        assert (to_array(output.scores) == scores_of(*values)).all()


async def test_the_parts_of_a_grant_run_as_one_batch(bench: Bench) -> None:
    first, second = part((1, 2), (3,)), part((4,))
    bench.submit(first, second)
    one, two = await first.answer, await second.answer
    check_scores(one, (1, 2), (3,))
    check_scores(two, (4,))
    assert bench.engine.batches == [4]
    assert one.batch_size == two.batch_size == 4
    assert one.device_us == two.device_us
    assert bench.finished == 1
    load = bench.device.load
    assert (load.completed_batches, load.completed_images) == (1, 4)
    assert load.device_us == one.device_us


async def test_batches_run_in_the_order_of_their_coming(bench: Bench) -> None:
    bench.engine.open.clear()
    parts = [part(*[(1,)] * (number + 1)) for number in range(5)]
    for each in parts:
        bench.submit(each)
    bench.engine.open.set()
    await asyncio.gather(*(each.answer for each in parts))
    assert bench.engine.batches == [1, 2, 3, 4, 5]


async def test_a_poison_piece_fails_alone(bench: Bench) -> None:
    first, second = part((1,), (POISON, 2)), part((3,))
    bench.submit(first, second)
    fine, failed = (await first.answer).outputs
    assert (to_array(fine.scores) == scores_of(1)).all()
    assert from_status(failed.error).reason == "MODEL_FAILED"
    check_scores(await second.answer, (3,))


async def test_a_part_that_does_not_fit_fails_alone(bench: Bench) -> None:
    wrong, fine = part((1,)), part((2,))
    wrong.request.pieces[0].pixels[0] = b"short"
    bench.submit(wrong, fine)
    check_scores(await fine.answer, (2,))
    with pytest.raises(InvalidRequestError):
        await wrong.answer
    assert bench.engine.batches == [1]


async def test_a_version_that_is_not_loaded_is_not_found(bench: Bench) -> None:
    unknown = part((1,), model=ModelKey("sums", 2))
    bench.submit(unknown)
    with pytest.raises(ModelNotFoundError):
        await unknown.answer
    assert bench.finished == 1


async def test_what_nobody_waits_for_is_not_run(bench: Bench) -> None:
    gone, late, fine = part((1,)), part((2,), seconds=-1), part((3,))
    gone.answer.cancel()
    bench.submit(gone, late, fine)
    check_scores(await fine.answer, (3,))
    with pytest.raises(DeadlineExceededError):
        await late.answer
    assert bench.engine.batches == [1]


async def test_an_empty_part_is_answered(bench: Bench) -> None:
    empty, fine = part(), part((1,))
    bench.submit(empty, fine)
    assert not (await empty.answer).outputs
    check_scores(await fine.answer, (1,))
    only = part()
    bench.submit(only)
    assert not (await only.answer).outputs
    bench.submit()
    await until(lambda: bench.finished == 3)
    assert bench.engine.batches == [1]


async def test_a_caller_that_goes_while_the_batch_runs_harms_nobody(bench: Bench) -> None:
    bench.engine.open.clear()
    going, staying = part((1,)), part((2,))
    bench.submit(going, staying)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    going.answer.cancel()
    bench.engine.open.set()
    check_scores(await staying.answer, (2,))
    assert bench.finished == 1


async def test_what_ran_for_nobody_is_counted_by_reason_and_share(bench: Bench) -> None:
    bench.engine.open.clear()
    going, late, staying = part((1,), (2, 3)), part((4,)), part((5, 6))
    bench.submit(going, late, staying)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    going.answer.cancel()
    late.deadline = Deadline.after(-1)
    late.due = late.deadline.at
    bench.engine.open.set()
    check_scores(await staying.answer, (5, 6))
    # Whoever is there to take it gets a late answer too.
    check_scores(await late.answer, (4,))
    load = bench.device.load
    assert load.completed_images == 6
    assert load.wasted_images == {"disconnected": 3, "deadline": 1}
    assert load.wasted_us == {
        "disconnected": load.device_us * 3 // 6,
        "deadline": load.device_us // 6,
    }


async def test_what_was_wanted_or_never_ran_is_not_wasted(bench: Bench) -> None:
    gone, late, empty, fine = part((1,)), part((2,), seconds=-1), part(), part((3,))
    gone.answer.cancel()
    bench.submit(gone, late, empty, fine)
    check_scores(await fine.answer, (3,))
    with pytest.raises(DeadlineExceededError):
        await late.answer
    assert not bench.device.load.wasted_images
    assert not bench.device.load.wasted_us


async def test_a_piece_that_is_given_up_is_not_run_and_its_mates_are(bench: Bench) -> None:
    mixed, other = part((1, 2), (3,)), part((4,))
    mixed.give_up(1, "cancelled")
    mixed.give_up(77, "cancelled")  # another part's
    assert not mixed.given_up
    bench.submit(mixed, other)
    (output,) = (await mixed.answer).outputs
    assert output.piece_id == 2
    assert (to_array(output.scores) == scores_of(3)).all()
    check_scores(await other.answer, (4,))
    assert bench.engine.batches == [2]
    assert not bench.device.load.wasted_images


async def test_a_piece_that_is_given_up_while_it_runs_is_counted_by_its_share(
    bench: Bench,
) -> None:
    bench.engine.open.clear()
    mixed, other = part((1, 2), (3,), (4, 5, 6)), part((7,))
    bench.submit(mixed, other)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    mixed.give_up(1, "cancelled")
    mixed.give_up(1, "deadline")  # the first reason counts
    mixed.give_up(3, "hedged")
    bench.engine.open.set()
    check_scores(await mixed.answer, (1, 2), (3,), (4, 5, 6))
    check_scores(await other.answer, (7,))
    load = bench.device.load
    assert load.completed_images == 7
    assert load.wasted_images == {"cancelled": 2, "hedged": 3}
    assert load.wasted_us == {
        "cancelled": load.device_us * 2 // 7,
        "hedged": load.device_us * 3 // 7,
    }


async def test_a_piece_has_a_deadline_of_its_own(bench: Bench) -> None:
    first, second = part((1,), (2, 3)), part((4,), (5,))
    first.request.pieces[1].timeout_ms = 0
    for piece in second.request.pieces:
        piece.timeout_ms = 0
    bench.submit(first, second)
    (output,) = (await first.answer).outputs
    assert output.piece_id == 1
    assert not (await second.answer).outputs
    assert bench.engine.batches == [1]
    assert not bench.device.load.wasted_images


async def test_a_piece_whose_own_deadline_passes_while_it_runs_is_counted(bench: Bench) -> None:
    bench.engine.open.clear()
    late = part((1,), (2, 3))
    bench.submit(late)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    late.request.pieces[1].timeout_ms = 0
    late.due = late.received
    bench.engine.open.set()
    check_scores(await late.answer, (1,), (2, 3))
    assert bench.device.load.wasted_images == {"deadline": 2}


async def test_what_waits_and_is_answered_already_leaves_at_once(bench: Bench) -> None:
    bench.engine.open.clear()
    running, gone, waiting = part((1,)), part((2,)), part((3,))
    for each in (running, gone, waiting):
        bench.submit(each)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    gone.answer.cancel()
    bench.device.drop_answered()
    assert bench.device.waiting == 1
    assert bench.ran == [None]
    bench.engine.open.set()
    check_scores(await waiting.answer, (3,))
    assert bench.engine.batches == [1, 1]


async def test_the_loop_runs_on_while_the_model_computes(bench: Bench) -> None:
    bench.engine.open.clear()
    slow = part((1,))
    bench.submit(slow)
    await asyncio.to_thread(bench.engine.started.wait, PATIENCE_S)
    assert not slow.answer.done()
    bench.engine.open.set()
    check_scores(await slow.answer, (1,))
