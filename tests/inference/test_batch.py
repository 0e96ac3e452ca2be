"""Pieces become one batch, and its outputs pieces again; poison harms nobody else."""

import asyncio
from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from facet.inference.v1 import inference_pb2
from facet.type.v1 import request_pb2
from google.rpc import code_pb2
from services.common.deadline import Deadline
from services.common.errors import FacetError, InternalError, InvalidRequestError
from services.common.shared_memory import Attachments
from services.common.statuses import from_status
from services.common.tensors import to_array
from services.common.tracing.span import NOBODY
from services.inference.batch import Part, PieceInput, piece_output, run_pieces, unpack
from tests.inference.models import pictures, scores_of
from tests.models.contents import SPEC
from tests.repeatable import repeatable

POISON = 13


def model(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """A model that dies of poison."""
    values = [int(image.flat[0]) for image in images]
    if POISON in values:
        raise RuntimeError("poison")
    return scores_of(*values)


PIECES = st.lists(st.lists(st.integers(0, 20), min_size=1, max_size=5), min_size=1, max_size=12)


@repeatable
@given(PIECES)
def test_all_but_the_poison_pieces_are_answered(values: list[list[int]]) -> None:
    pieces = [
        PieceInput(place, pictures(*piece), NOBODY.context) for place, piece in enumerate(values)
    ]
    outcomes = run_pieces(pieces, model)
    assert sorted(outcomes) == list(range(len(values)))
    for place, piece in enumerate(values):
        outcome = outcomes[place]
        if POISON in piece:
            assert isinstance(outcome, InternalError)
            assert outcome.reason == "MODEL_FAILED"
        else:
            assert not isinstance(outcome, FacetError)
            np.testing.assert_array_equal(outcome, scores_of(*piece))


def test_a_healthy_batch_is_one_run() -> None:
    runs = []

    def counting(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        runs.append(len(images))
        return model(images)

    run_pieces([PieceInput(n, pictures(n, n), NOBODY.context) for n in range(8)], counting)
    assert runs == [16]


def test_one_poison_piece_costs_few_runs() -> None:
    runs = []

    def counting(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        runs.append(len(images))
        return model(images)

    run_pieces(
        [PieceInput(n, pictures(POISON if n == 11 else 1), NOBODY.context) for n in range(32)],
        counting,
    )
    assert len(runs) == 1 + 2 * 5


@repeatable
@given(st.binary(min_size=1, max_size=4 * SPEC.nbytes), st.lists(st.integers(0, 90), max_size=4))
def test_chunks_are_read_as_one(data: bytes, cuts: list[int]) -> None:
    images = -(-len(data) // SPEC.nbytes)
    data = data.ljust(images * SPEC.nbytes, b"\0")
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[a:b] for a, b in pairwise(bounds)]
    request = inference_pb2.InferRequest(
        pieces=[inference_pb2.Piece(piece_id=7, images=images, pixels=chunks)]
    )
    (piece,) = unpack(request, request.pieces, SPEC, Attachments())
    assert piece.piece_id == 7
    assert piece.pixels.shape == (images, *SPEC.shape)
    assert piece.pixels.tobytes() == data


@pytest.mark.parametrize(
    ("images", "chunks"),
    [
        (1, []),
        (0, []),
        (0, [b""]),
        (1, [bytes(SPEC.nbytes - 1)]),
        (1, [bytes(SPEC.nbytes + 1)]),
        (2, [bytes(SPEC.nbytes)]),
        (1, [bytes(SPEC.nbytes), b"\0"]),
        (2**32 - 1, [bytes(SPEC.nbytes)]),
    ],
)
def test_a_piece_without_its_bytes_is_refused(images: int, chunks: list[bytes]) -> None:
    request = inference_pb2.InferRequest(pieces=[inference_pb2.Piece(images=images, pixels=chunks)])
    with pytest.raises(InvalidRequestError) as raised:
        unpack(request, request.pieces, SPEC, Attachments())
    assert raised.value.reason == "WRONG_SHAPE"


REASONS = st.sampled_from([None, None, "cancelled", "hedged"])
TIMES_MS = st.sampled_from([None, 10, 20, 30])


@repeatable
@given(
    st.lists(st.tuples(st.integers(1, 8), TIMES_MS, REASONS, REASONS), min_size=1, max_size=6),
    st.sampled_from([5, 15, 25, 45]),
    st.sampled_from([0, 10, 20]),
    st.booleans(),
)
def test_a_piece_runs_if_it_is_wanted_and_is_wasted_for_one_reason(
    pieces: list[tuple[int, int | None, str | None, str | None]],
    begins_ms: int,
    takes_ms: int,
    disconnected: bool,
) -> None:
    request = inference_pb2.InferRequest(
        pieces=[
            inference_pb2.Piece(piece_id=number, images=images, timeout_ms=timeout_ms)
            for number, (images, timeout_ms, _, _) in enumerate(pieces)
        ]
    )
    loop = asyncio.new_event_loop()
    part = Part(request, Deadline(0.040), loop.create_future(), received=0.0)
    loop.close()
    for number, (_, _, before, _) in enumerate(pieces):
        if before is not None:
            part.give_up(number, before)
    assert part.given_up == all(before for _, _, before, _ in pieces)
    ran = part.wanted_pieces(begins_ms / 1000)
    ends_ms = begins_ms + takes_ms
    expected: Counter[str] = Counter()
    for number, (images, timeout_ms, before, during) in enumerate(pieces):
        due_ms = timeout_ms or 40
        assert (request.pieces[number] in ran) == (before is None and due_ms > begins_ms)
        if during is not None:
            part.give_up(number, during)
        if request.pieces[number] in ran:
            late = "deadline" if due_ms <= ends_ms else None
            if reason := during or ("disconnected" if disconnected else late):
                expected[reason] += images
    if disconnected:
        part.answer.cancel()
    wasted: Counter[str] = Counter()
    part.count_wasted(wasted, ran, ends_ms / 1000)
    assert wasted == expected


def test_an_outcome_is_scores_or_an_error() -> None:
    scores = piece_output(3, scores_of(1, 2))
    assert scores.piece_id == 3
    assert not scores.HasField("error")
    np.testing.assert_array_equal(to_array(scores.scores), scores_of(1, 2))
    failed = piece_output(4, InternalError("it failed", reason="MODEL_FAILED"))
    assert failed.error.code == code_pb2.INTERNAL
    assert not failed.HasField("scores")
    assert from_status(failed.error).reason == "MODEL_FAILED"


def test_the_line_about_a_piece_that_fails_names_its_request() -> None:
    contexts = [request_pb2.RequestContext(request_id=f"r-{number}") for number in range(4)]
    pixels = [pictures(POISON if number == 2 else 1) for number in range(4)]
    with structlog.testing.capture_logs() as lines:
        run_pieces([PieceInput(n, pixels[n], contexts[n]) for n in range(4)], model)
    (line,) = [each for each in lines if each["event"] == "the model failed on a piece"]
    assert line["request_id"] == "r-2"
