"""Scores → classifications, written into the results of a response. Pure."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from facet.aggregation.v1 import aggregation_pb2
from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from services.aggregation.blend import MemberScores, blend
from services.aggregation.ranking import top_indices
from services.common.errors import InvalidRequestError
from services.common.tensors import to_array

Results: TypeAlias = Any
"""The repeated field of recognition_pb2.ImageResult in a response: filled in place, not copied."""


class Ranking:
    """Rows of scores of several requests, which are ranked in one go.

    For the few rows of one small request numpy costs more to call than it works.
    """

    def __init__(self, labels: Sequence[str], top_k: int) -> None:
        self._labels = labels
        self._top_k = top_k
        self._scores: list[npt.NDArray[np.float32]] = []
        self._into: list[recognition_pb2.Classification] = []

    def add(
        self,
        scores: npt.NDArray[np.float32],
        into: Iterable[recognition_pb2.Classification],
    ) -> None:
        """Rank these rows as well, float32 [rows, classes]; `into` has a message for each."""
        self._scores.append(scores)
        self._into.extend(into)

    def write(self) -> None:
        """Write the best classes of all rows; to be called once."""
        if self._scores:
            together = self._scores[0] if len(self._scores) == 1 else np.concatenate(self._scores)
            classify(together, self._labels, self._top_k, self._into)


def combine_pieces(
    pieces: Iterable[aggregation_pb2.PieceScores],
    images: int,
    labels: Sequence[str],
    ranking: Ranking,
    results: Results,
) -> None:
    """Add one result for each of `images` positions, in order; `ranking` is to fill them.

    A position that no piece covers gets a result without an outcome. Raises InvalidRequestError
    (WRONG_SHAPE, WRONG_DTYPE) when the pieces and the labels do not fit together; then nothing
    is added.
    """
    checked = [(piece.positions, _scores(piece, images, len(labels))) for piece in pieces]
    rows = [results.add() for _ in range(images)]
    for positions, scores in checked:
        ranking.add(scores, [rows[position].classification for position in positions])


def combine_members(
    members: Iterable[aggregation_pb2.MemberScores],
    rule: model_pb2.EnsembleRule,
    images: int,
    labels: Sequence[str],
    top_k: int,
    results: Results,
) -> None:
    """Add one result for each of `images` positions, in order, of an ensemble.

    A position that no member covers gets a result without an outcome. Raises InvalidRequestError
    (WRONG_SHAPE, WRONG_DTYPE) when pieces, labels, weights and rule do not fit together; then
    nothing is added.
    """
    blended = blend(
        [_member(member, images, len(labels)) for member in members], images, len(labels), rule
    )
    best = top_indices(blended.scores, top_k, blended.means)
    rows = [results.add() for _ in range(images)]
    answered = (rows[position].classification for position in blended.answered.tolist())
    _write(best, blended.scores, labels, answered)


def classify(
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    top_k: int,
    into: Iterable[recognition_pb2.Classification],
) -> None:
    """Write the `top_k` best classes of each row of float32 [images, classes], best first.

    `into` has one empty message for each row; filling it in place saves a copy. Equal scores
    keep the order of the model's outputs.
    """
    _write(top_indices(scores, top_k), scores, labels, into)


def _write(
    best: npt.NDArray[np.intp],
    scores: npt.NDArray[np.float32],
    labels: Sequence[str],
    into: Iterable[recognition_pb2.Classification],
) -> None:
    best_scores = scores[np.arange(len(scores))[:, None], best]
    for row, row_scores, classification in zip(
        best.tolist(), best_scores.tolist(), into, strict=True
    ):
        add = classification.classes.add
        for index, score in zip(row, row_scores, strict=True):
            add(label=labels[index], index=index, score=score)


def _member(member: aggregation_pb2.MemberScores, images: int, classes: int) -> MemberScores:
    pieces = [_scores(piece, images, classes) for piece in member.pieces]
    positions = [position for piece in member.pieces for position in piece.positions]
    if len(set(positions)) < len(positions):
        raise InvalidRequestError("a member has scores for one image twice")
    scores = np.concatenate(pieces) if pieces else np.empty((0, classes), np.float32)
    return MemberScores(member.weight, np.array(positions, np.intp), scores)


def _scores(
    piece: aggregation_pb2.PieceScores, images: int, classes: int
) -> npt.NDArray[np.float32]:
    scores = to_array(piece.scores)
    if scores.dtype != np.float32:
        raise InvalidRequestError(
            f"scores must be float32, not {scores.dtype}", reason="WRONG_DTYPE"
        )
    if scores.shape != (len(piece.positions), classes):
        raise InvalidRequestError(
            f"scores of {len(piece.positions)} images and {classes} classes cannot have the "
            f"shape {list(scores.shape)}",
            reason="WRONG_SHAPE",
        )
    if any(position >= images for position in piece.positions):
        raise InvalidRequestError(f"a position lies beyond the {images} images of the request")
    return scores
