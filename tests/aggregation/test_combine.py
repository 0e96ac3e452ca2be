"""Scores become classes, best first, as plain sorting would have it."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facet.aggregation.v1 import aggregation_pb2
from facet.recognition.v1 import recognition_pb2
from services.aggregation.combine import Ranking, classify, combine_pieces
from services.aggregation.ranking import top_indices
from services.common.errors import InvalidRequestError
from services.common.tensors import to_message
from tests.repeatable import repeatable

# Few values, so that there are many ties.
VALUES = st.sampled_from([0.0, -0.0, 0.5, 1.0, -1.0, math.inf, -math.inf, math.nan]) | st.floats(
    width=32
)
SCORES = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=VALUES
)


def best(row: npt.NDArray[np.float32], top_k: int) -> list[int]:
    """The plain way: by score, then by place; what is not a number comes last."""

    def rank(index: int) -> tuple[bool, float, int]:
        score = float(row[index])
        return (math.isnan(score), 0.0 if math.isnan(score) else -score, index)

    return sorted(range(len(row)), key=rank)[:top_k]


@repeatable
@given(SCORES, st.integers(1, 15))
def test_the_best_are_those_of_plain_sorting(scores: npt.NDArray[np.float32], top_k: int) -> None:
    before = scores.copy()
    assert top_indices(scores, top_k).tolist() == [best(row, top_k) for row in scores]
    np.testing.assert_array_equal(scores, before)


@repeatable
@given(SCORES)
def test_no_limit_means_all(scores: npt.NDArray[np.float32]) -> None:
    assert top_indices(scores, 0).tolist() == [best(row, len(row)) for row in scores]


def test_equal_scores_keep_the_order_of_the_outputs() -> None:
    scores = np.array([[0.5, 1.0, 0.5, 1.0, 0.5]], np.float32)
    assert top_indices(scores, 3).tolist() == [[1, 3, 0]]


def test_what_is_not_a_number_is_no_answer() -> None:
    scores = np.array([[0.1, math.nan, 0.9, math.nan]], np.float32)
    assert top_indices(scores, 3).tolist() == [[2, 0, 1]]


def test_classes_have_label_index_and_score() -> None:
    result = recognition_pb2.Classification()
    classify(np.array([[0.25, 0.75]], np.float32), ["cat", "dog"], 5, [result])
    assert [(c.label, c.index, c.score) for c in result.classes] == [
        ("dog", 1, 0.75),
        ("cat", 0, 0.25),
    ]


@st.composite
def split_requests(
    draw: st.DrawFn,
) -> tuple[npt.NDArray[np.float32], list[list[int]], list[int], int]:
    """Scores of a request, positions of its pieces, positions without an output, and top_k."""
    images = draw(st.integers(1, 20))
    scores = draw(hnp.arrays(np.float32, (images, draw(st.integers(1, 6))), elements=VALUES))
    order = draw(st.permutations(range(images)))
    missing = sorted(order[: draw(st.integers(0, images))])
    rest = [position for position in order if position not in missing]
    pieces = []
    while rest:
        size = draw(st.integers(1, len(rest)))
        pieces.append(rest[:size])
        rest = rest[size:]
    return scores, pieces, missing, draw(st.integers(1, 8))


@repeatable
@given(split_requests())
def test_pieces_in_any_order_become_results_in_the_order_of_the_request(
    request: tuple[npt.NDArray[np.float32], list[list[int]], list[int], int],
) -> None:
    scores, pieces, missing, top_k = request
    labels = [f"class {index}" for index in range(scores.shape[1])]
    ranking, results = Ranking(labels, top_k), aggregation_pb2.CombinedItem().results
    messages = [piece_of(scores, positions) for positions in pieces]
    combine_pieces(messages, len(scores), labels, ranking, results)
    ranking.write()
    assert len(results) == len(scores)
    for position, result in enumerate(results):
        if position in missing:
            assert result.WhichOneof("outcome") is None
        else:
            indices = [found.index for found in result.classification.classes]
            assert indices == best(scores[position], top_k)


def piece_of(scores: npt.NDArray[np.float32], positions: list[int]) -> aggregation_pb2.PieceScores:
    """The piece with the outputs of these positions."""
    return aggregation_pb2.PieceScores(positions=positions, scores=to_message(scores[positions]))


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        (piece_of(np.zeros((2, 3), np.float32), [0, 1]), "WRONG_SHAPE"),
        (
            aggregation_pb2.PieceScores(
                positions=[0], scores=to_message(np.zeros((2, 2), np.float32))
            ),
            "WRONG_SHAPE",
        ),
        (
            aggregation_pb2.PieceScores(positions=[0], scores=to_message(np.zeros(2, np.float32))),
            "WRONG_SHAPE",
        ),
        (
            aggregation_pb2.PieceScores(
                positions=[0], scores=to_message(np.zeros((1, 2), np.uint8))
            ),
            "WRONG_DTYPE",
        ),
        (aggregation_pb2.PieceScores(positions=[0]), "WRONG_DTYPE"),
        (
            aggregation_pb2.PieceScores(
                positions=[2], scores=to_message(np.zeros((1, 2), np.float32))
            ),
            "INVALID_REQUEST",
        ),
    ],
)
def test_pieces_that_do_not_fit_are_refused(
    piece: aggregation_pb2.PieceScores, reason: str
) -> None:
    ranking, results = Ranking(["a", "b"], 1), aggregation_pb2.CombinedItem().results
    fits = piece_of(np.zeros((2, 2), np.float32), [1])
    with pytest.raises(InvalidRequestError) as raised:
        combine_pieces([fits, piece], 2, ["a", "b"], ranking, results)
    assert raised.value.reason == reason
    assert not results
    ranking.write()  # there is nothing to rank
    assert not results


@repeatable
@given(st.lists(split_requests(), min_size=1, max_size=4), st.integers(1, 8))
def test_requests_that_are_ranked_together_do_not_mix(
    requests: list[tuple[npt.NDArray[np.float32], list[list[int]], list[int], int]], top_k: int
) -> None:
    classes = requests[0][0].shape[1]
    labels = [f"class {index}" for index in range(classes)]
    together, expected = aggregation_pb2.CombineResponse(), aggregation_pb2.CombineResponse()
    ranking = Ranking(labels, top_k)
    for scores, pieces, _, _ in requests:
        fitting = np.resize(scores, (len(scores), classes))
        messages = [piece_of(fitting, positions) for positions in pieces]
        combine_pieces(messages, len(scores), labels, ranking, together.items.add().results)
        alone = Ranking(labels, top_k)
        combine_pieces(messages, len(scores), labels, alone, expected.items.add().results)
        alone.write()
    ranking.write()
    # Not compared as messages: what is not a number equals nothing, itself included.
    assert together.SerializeToString() == expected.SerializeToString()


def test_many_classes_are_no_problem() -> None:
    scores = np.random.default_rng(0).random((32, 1000), dtype=np.float32)
    assert top_indices(scores, 5).tolist() == [best(row, 5) for row in scores]
