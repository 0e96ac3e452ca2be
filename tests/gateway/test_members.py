"""What follows from the members' answers, as going through all pictures and members has it."""

from hypothesis import given
from hypothesis import strategies as st

from facet.type.v1 import model_pb2
from gateway.members import MemberAnswer, failures, unanswered
from gateway.requests import Prepared
from services.common.errors import ImageError, InternalError, OverloadedError
from services.common.statuses import from_status
from tests.gateway.ensembles import output
from tests.repeatable import repeatable

ERRORS = [ImageError("torn"), InternalError("burst", reason="MODEL_FAILED"), OverloadedError("x")]


def member(number: int) -> model_pb2.EnsembleMember:
    """A member."""
    model = model_pb2.ModelVersion(name=f"m{number}", version=1)
    return model_pb2.EnsembleMember(model=model, weight=0.5)


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[MemberAnswer], int]:
    """Answers of some members about so many pictures."""
    count = draw(st.integers(1, 6))
    found = []
    for number in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            found.append(MemberAnswer.failed(member(number), draw(st.sampled_from(ERRORS)), count))
            continue
        outcomes = draw(st.lists(st.sampled_from([None, *ERRORS]), min_size=count, max_size=count))
        outputs = [
            output(place, error=error)
            for place, error in enumerate(outcomes)
            if not isinstance(error, ImageError)
        ]
        prepared = Prepared(
            count,
            [output.positions[0] for output in outputs],
            [b""] * len(outputs),
            {place: e for place, e in enumerate(outcomes) if isinstance(e, ImageError)},
        )
        found.append(MemberAnswer.of(member(number), prepared, outputs))
    return found, count


@repeatable
@given(answers())
def test_every_picture_is_answered_by_those_that_have_scores_for_it(
    given_: tuple[list[MemberAnswer], int],
) -> None:
    members, count = given_
    lost = unanswered(members)
    failed = failures(members, lost)
    for place in range(count):
        silent = {each.member.model.name: each.errors.get(place) for each in members}
        told = {each.model.name: from_status(each.error) for each in failed if place in each.images}
        if None in silent.values():
            assert place not in lost
            errors = {name: error for name, error in silent.items() if error is not None}
            assert {name: (e.reason, e.message) for name, e in told.items()} == {
                name: (e.reason, e.message) for name, e in errors.items()
            }
        else:
            assert lost[place] is members[0].errors[place]
            assert not told
    assert all(list(each.images) == sorted(each.images) and each.images for each in failed)


def test_a_member_comes_once_for_each_error() -> None:
    burst = InternalError("burst", reason="MODEL_FAILED")
    torn = ImageError("torn")
    prepared = Prepared(4, [0, 1, 2], [b""] * 3, {3: torn})
    one = MemberAnswer.of(member(1), prepared, [output(1, 2, error=burst), output(0)])
    other = MemberAnswer.of(member(2), Prepared(4, range(4), [b""] * 4), [output(0, 1, 2, 3)])
    told = failures([one, other], unanswered([one, other]))
    assert [(each.model.name, list(each.images)) for each in told] == [("m1", [1, 2]), ("m1", [3])]


def test_a_model_that_fails_on_everything_is_no_answer() -> None:
    burst = InternalError("burst", reason="MODEL_FAILED")
    prepared = Prepared(2, [0, 1], [b""] * 2)
    failing = [output(0, error=burst), output(1, error=burst)]
    assert not MemberAnswer.of(member(1), prepared, failing).answered
    assert MemberAnswer.of(member(1), prepared, [failing[0], output(1)]).answered
    nothing_to_do = Prepared(1, [], [], {0: ImageError("torn")})
    assert MemberAnswer.of(member(1), nothing_to_do, []).answered
    assert not MemberAnswer.failed(member(1), burst, 2).answered
