"""What became of the members of an ensemble, and what follows for its answer. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.requests import Output, Prepared, image_errors
from services.common.errors import FacetError
from services.common.statuses import to_status


@dataclass(frozen=True, slots=True)
class MemberAnswer:
    """What one member made of a request."""

    member: model_pb2.EnsembleMember
    outputs: Sequence[Output]
    errors: Mapping[int, FacetError]
    """Place in the request → why it has no scores for that picture."""
    error: FacetError | None = None
    """Why it failed as a whole."""

    @classmethod
    def of(
        cls, member: model_pb2.EnsembleMember, prepared: Prepared, outputs: Sequence[Output]
    ) -> Self:
        """Return the answer of a member that ran."""
        return cls(member, outputs, image_errors(prepared, outputs))

    @classmethod
    def failed(cls, member: model_pb2.EnsembleMember, error: FacetError, count: int) -> Self:
        """Return the answer of a member that failed on all `count` pictures."""
        return cls(member, (), dict.fromkeys(range(count), error), error)

    @property
    def answered(self) -> bool:
        """It can stand for the ensemble alone: the model did not fail on every picture it got."""
        if self.error is not None:
            return False
        return not self.outputs or any(output.error is None for output in self.outputs)


def unanswered(answers: Sequence[MemberAnswer]) -> dict[int, FacetError]:
    """Return the pictures that no member has scores for: place → the first member's error."""
    first, *others = answers
    return {
        place: error
        for place, error in first.errors.items()
        if all(place in other.errors for other in others)
    }


def failures(
    answers: Sequence[MemberAnswer], lost: Mapping[int, FacetError]
) -> list[recognition_pb2.MemberFailure]:
    """Return why members have no part in the answers for pictures that are not `lost`.

    One message for each member and error, with the places in ascending order.
    """
    found: list[recognition_pb2.MemberFailure] = []
    for answer in answers:
        by_error: dict[tuple[str, str], recognition_pb2.MemberFailure] = {}
        for place in sorted(answer.errors.keys() - lost.keys()):
            error = answer.errors[place]
            key = (error.reason, error.message)
            if key not in by_error:
                by_error[key] = recognition_pb2.MemberFailure(
                    model=answer.member.model, error=to_status(error)
                )
            by_error[key].images.append(place)
        found += by_error.values()
    return found
