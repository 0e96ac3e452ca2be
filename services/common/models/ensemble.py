"""A version that is made of others: which, and how their scores become one."""

import math
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from facet.type.v1 import model_pb2
from services.common.models.artefacts import Record
from services.common.models.key import ModelKey

Rule = Literal["mean", "weighted", "vote"]
"""The mean of the members' scores, their weighted mean, or the (weighted) share of the members
that prefer a class to all others."""

MIN_MEMBERS: Final = 2
MAX_MEMBERS: Final = 8
"""Each picture runs through all of them."""

_MESSAGES: Final = {
    "mean": model_pb2.ENSEMBLE_RULE_MEAN,
    "weighted": model_pb2.ENSEMBLE_RULE_WEIGHTED,
    "vote": model_pb2.ENSEMBLE_RULE_VOTE,
}


class Member(Record):
    """One exact version, and its share in the answer."""

    name: str
    version: Annotated[int, Field(ge=1)]
    weight: Annotated[float, Field(gt=0)]

    @property
    def key(self) -> ModelKey:
        """Name and version."""
        return ModelKey(self.name, self.version)


class Ensemble(Record):
    """Versions that answer together."""

    rule: Rule
    members: Annotated[tuple[Member, ...], Field(min_length=MIN_MEMBERS, max_length=MAX_MEMBERS)]
    """Their weights add up to 1."""

    @property
    def keys(self) -> tuple[ModelKey, ...]:
        """The versions that it is made of."""
        return tuple(member.key for member in self.members)

    def __str__(self) -> str:
        """Such as "weighted of digits:1 (25.0%), digits:2 (75.0%)"."""
        members = (f"{member.key} ({member.weight:.1%})" for member in self.members)
        return f"{self.rule} of {', '.join(members)}"

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if len(set(self.keys)) < len(self.keys):
            raise ValueError("a member is named twice")
        weights = [member.weight for member in self.members]
        if not math.isclose(sum(weights), 1):
            raise ValueError(f"the weights add up to {sum(weights):g}, not to 1")
        if self.rule == "mean" and not math.isclose(min(weights), max(weights)):
            raise ValueError("the members of a mean have equal weights")
        return self

    def to_message(self) -> model_pb2.Ensemble:
        """Return it as a message."""
        return model_pb2.Ensemble(
            rule=_MESSAGES[self.rule],
            members=[
                model_pb2.EnsembleMember(model=member.key.to_message(), weight=member.weight)
                for member in self.members
            ],
        )
