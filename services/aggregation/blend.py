"""Scores of several members → scores of their ensemble. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from facet.type.v1 import model_pb2
from services.aggregation.ranking import top_indices
from services.common.errors import InvalidRequestError

RULES: Final = frozenset(
    {
        model_pb2.ENSEMBLE_RULE_MEAN,
        model_pb2.ENSEMBLE_RULE_WEIGHTED,
        model_pb2.ENSEMBLE_RULE_VOTE,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class MemberScores:
    """What one member made of the images of a request."""

    weight: float
    """Above 0."""
    positions: npt.NDArray[np.intp]
    """Place in the request of each row, each at most once."""
    scores: npt.NDArray[np.float32]
    """[len(positions), classes]"""


@dataclass(frozen=True, slots=True, eq=False)
class Blended:
    """What the members made of the images together."""

    answered: npt.NDArray[np.intp]
    """Place in the request of each row: the images that some member has scores for, ascending."""
    scores: npt.NDArray[np.float32]
    """[len(answered), classes]"""
    means: npt.NDArray[np.float32]
    """The weighted means of the members' scores, of the same shape: they put classes of equal
    scores in order."""


def blend(
    members: Sequence[MemberScores], images: int, classes: int, rule: model_pb2.EnsembleRule
) -> Blended:
    """Return one row of scores for each of the images that some member has scores for.

    A member without scores for an image has no part in that row: the weights of the others count
    in proportion. A vote is for the best class, the first of several; scores that are all not a
    number are no vote. Raises InvalidRequestError for an unknown rule or weight.
    """
    if rule not in RULES:
        raise InvalidRequestError(f"there is no rule {rule} for an ensemble")
    weights = np.zeros(images)
    sums = np.zeros((images, classes))
    votes = np.zeros((images, classes))
    for member in members:
        if not 0 < member.weight < np.inf:
            raise InvalidRequestError(f"a member's weight must be above 0, not {member.weight:g}")
        weights[member.positions] += member.weight
        with np.errstate(invalid="ignore"):  # what is not a number stays none
            sums[member.positions] += member.weight * member.scores.astype(np.float64)
        if rule == model_pb2.ENSEMBLE_RULE_VOTE:
            _vote(votes, member)
    answered = np.flatnonzero(weights)
    share = weights[answered, np.newaxis]
    with np.errstate(over="ignore"):
        means = (sums[answered] / share).astype(np.float32)
    if rule != model_pb2.ENSEMBLE_RULE_VOTE:
        return Blended(answered, means, means)
    return Blended(answered, (votes[answered] / share).astype(np.float32), means)


def _vote(votes: npt.NDArray[np.float64], member: MemberScores) -> None:
    """Add a member's votes to those of each image and class."""
    best = top_indices(member.scores, 1)
    cast = ~np.isnan(np.take_along_axis(member.scores, best, axis=1)[:, 0])
    votes[member.positions[cast], best[cast, 0]] += member.weight
