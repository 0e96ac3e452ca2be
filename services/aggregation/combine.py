"""Scores → classifications. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from facet.aggregation.v1 import aggregation_pb2
from facet.recognition.v1 import recognition_pb2
from services.common.errors import InvalidRequestError
from services.common.tensors import to_array


def combine_pieces(
    pieces: Iterable[aggregation_pb2.PieceScores], images: int, labels: Sequence[str], top_k: int
) -> list[recognition_pb2.ImageResult]:
    """Return one result for each of `images` positions, in order.

    A position that no piece covers gets a result without an outcome. Raises InvalidRequestError
    (WRONG_SHAPE, WRONG_DTYPE) when the pieces and the labels do not fit together.
    """
    results = [recognition_pb2.ImageResult() for _ in range(images)]
    for piece in pieces:
        scores = _scores(piece, images, len(labels))
        rows = (results[position].classification for position in piece.positions)
        classify(scores, labels, top_k, rows)
    return results


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
    best = top_indices(scores, top_k)
    best_scores = np.take_along_axis(scores, best, axis=1)
    for row, row_scores, classification in zip(
        best.tolist(), best_scores.tolist(), into, strict=True
    ):
        for index, score in zip(row, row_scores, strict=True):
            classification.classes.add(label=labels[index], index=index, score=score)


def top_indices(scores: npt.NDArray[np.float32], top_k: int) -> npt.NDArray[np.intp]:
    """Return the indices of the `top_k` largest scores of each row, [images, min(k, classes)]."""
    classes = scores.shape[1]
    # Ascending by the negative: not a number, which is no answer, sorts last.
    keys = -scores
    if 0 < top_k < classes:
        # Sorting a thousand classes costs ten times what finding the best five does; the
        # partition alone would not keep the order of equals, so ties at the edge are sorted out.
        edge = np.partition(keys, top_k - 1, axis=1)[:, top_k - 1 : top_k]
        keys = np.where(keys > edge, np.nan, keys)
    order = np.argsort(keys, axis=1, kind="stable")
    return order[:, : top_k or classes]


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
