"""Members' scores become those of their ensemble, as going through picture by picture has it."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facet.aggregation.v1 import aggregation_pb2
from facet.type.v1 import model_pb2
from services.aggregation.blend import RULES, MemberScores, blend
from services.aggregation.combine import combine_members
from services.common.errors import InvalidRequestError
from services.common.tensors import to_message
from tests.repeatable import repeatable

MEAN, VOTE = model_pb2.ENSEMBLE_RULE_MEAN, model_pb2.ENSEMBLE_RULE_VOTE

# Few values, so that there are many ties; halves and quarters, so that sums are exact.
VALUES = st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]) | st.floats(-100, 100, width=16)
ODD = st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf])
WEIGHTS = st.sampled_from([0.25, 0.5, 0.75, 3.0])


@st.composite
def requests(
    draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES
) -> tuple[list[MemberScores], int, int]:
    """Scores of some members for some of the images each, the number of images and of classes."""
    images, classes = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    members = []
    for _ in range(draw(st.integers(1, 5))):
        order = draw(st.permutations(range(images)))
        positions = order[: draw(st.integers(0, images))]
        scores = draw(hnp.arrays(np.float32, (len(positions), classes), elements=values))
        members.append(MemberScores(draw(WEIGHTS), np.array(positions, np.intp), scores))
    return members, images, classes


def rows_of(
    members: list[MemberScores], image: int
) -> tuple[list[float], list[npt.NDArray[np.float32]]]:
    """Weights and scores of the members that have some for an image."""
    weights, rows = [], []
    for member in members:
        for position, row in zip(member.positions, member.scores, strict=True):
            if position == image:
                weights.append(member.weight)
                rows.append(row)
    return weights, rows


@repeatable
@given(requests(), st.sampled_from([MEAN, model_pb2.ENSEMBLE_RULE_WEIGHTED]))
def test_a_mean_is_that_of_the_members_that_answered(
    request: tuple[list[MemberScores], int, int], rule: model_pb2.EnsembleRule
) -> None:
    members, images, classes = request
    blended = blend(members, images, classes, rule)
    answered = [image for image in range(images) if rows_of(members, image)[0]]
    assert blended.answered.tolist() == answered
    for row, image in zip(blended.scores, answered, strict=True):
        weights, rows = rows_of(members, image)
        np.testing.assert_allclose(row, np.average(rows, axis=0, weights=weights), atol=1e-5)


@repeatable
@given(requests())
def test_a_vote_is_the_share_of_those_that_prefer_a_class(
    request: tuple[list[MemberScores], int, int],
) -> None:
    members, images, classes = request
    blended = blend(members, images, classes, VOTE)
    for row, image in zip(blended.scores, blended.answered.tolist(), strict=True):
        weights, rows = rows_of(members, image)
        votes = [0.0] * classes
        for weight, scores in zip(weights, rows, strict=True):
            votes[int(np.argmax(scores))] += weight
        np.testing.assert_allclose(row, np.array(votes) / sum(weights), rtol=1e-6)
        assert row.sum() == pytest.approx(1)


@repeatable
@given(requests(), st.sampled_from(sorted(RULES)), st.integers(1, 6))
def test_the_best_classes_come_first_and_means_decide_among_equals(
    request: tuple[list[MemberScores], int, int], rule: model_pb2.EnsembleRule, top_k: int
) -> None:
    members, images, classes = request
    labels = [f"class {index}" for index in range(classes)]
    results = aggregation_pb2.CombinedItem().results
    combine_members(list(map(message_of, members)), rule, images, labels, top_k, results)
    blended = blend(members, images, classes, rule)
    rows = dict(
        zip(blended.answered.tolist(), zip(blended.scores, blended.means, strict=True), strict=True)
    )
    for image, result in enumerate(results):
        if image not in rows:
            assert result.WhichOneof("outcome") is None
            continue
        scores, means = rows[image]
        order = sorted(range(classes), key=lambda c: (-scores[c], -means[c], c))[:top_k]
        assert [found.index for found in result.classification.classes] == order
        assert [found.score for found in result.classification.classes] == scores[order].tolist()


@repeatable
@given(requests(ODD), st.sampled_from(sorted(RULES)))
def test_what_is_not_a_number_never_beats_what_is(
    request: tuple[list[MemberScores], int, int], rule: model_pb2.EnsembleRule
) -> None:
    members, images, classes = request
    labels = [f"class {index}" for index in range(classes)]
    results = aggregation_pb2.CombinedItem().results
    combine_members(list(map(message_of, members)), rule, images, labels, classes, results)
    for result in results:
        told = [math.isnan(found.score) for found in result.classification.classes]
        assert told == sorted(told)
        assert not (rule == VOTE and any(told))


def test_a_member_without_a_number_has_no_vote() -> None:
    nothing = MemberScores(1, np.array([0]), np.array([[math.nan, math.nan]], np.float32))
    worst = MemberScores(1, np.array([0]), np.array([[math.nan, -math.inf]], np.float32))
    assert blend([nothing, worst], 1, 2, VOTE).scores.tolist() == [[0, 0.5]]


def message_of(member: MemberScores) -> aggregation_pb2.MemberScores:
    """The member's scores, a piece an image."""
    return aggregation_pb2.MemberScores(
        weight=member.weight,
        pieces=[
            aggregation_pb2.PieceScores(positions=[position], scores=to_message(row[np.newaxis]))
            for position, row in zip(member.positions.tolist(), member.scores, strict=True)
        ],
    )


def member(*positions: int, weight: float = 1, classes: int = 2) -> aggregation_pb2.MemberScores:
    """A member with scores for these positions in one piece."""
    piece = aggregation_pb2.PieceScores(
        positions=positions, scores=to_message(np.zeros((len(positions), classes), np.float32))
    )
    return aggregation_pb2.MemberScores(weight=weight, pieces=[piece])


@pytest.mark.parametrize(
    ("members", "rule", "reason"),
    [
        ([member(0)], model_pb2.ENSEMBLE_RULE_UNSPECIFIED, "INVALID_REQUEST"),
        ([member(0)], 9, "INVALID_REQUEST"),
        ([member(0), member(0, weight=0)], MEAN, "INVALID_REQUEST"),
        ([member(0), member(0, weight=math.nan)], MEAN, "INVALID_REQUEST"),
        ([member(0), member(0, weight=math.inf)], VOTE, "INVALID_REQUEST"),
        ([member(0, 0)], MEAN, "INVALID_REQUEST"),
        ([member(2)], MEAN, "INVALID_REQUEST"),
        ([member(0), member(0, classes=3)], MEAN, "WRONG_SHAPE"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    members: list[aggregation_pb2.MemberScores], rule: model_pb2.EnsembleRule, reason: str
) -> None:
    results = aggregation_pb2.CombinedItem().results
    with pytest.raises(InvalidRequestError) as raised:
        combine_members(members, rule, 2, ["a", "b"], 1, results)
    assert raised.value.reason == reason
    assert not results
