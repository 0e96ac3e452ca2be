"""Which versions of a model are to be served, and under which names.

Versions never change; this is the one thing of a model that does. Each change is a file of its
own, `<model>/releases/<sequence>.json`: two people who change it at once cannot both create the
next number, and nobody ever reads half of a change.
"""

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Self

from pydantic import Field, ValidationError

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.artefacts import Record

KEPT_PROMOTIONS: Final = 20
"""How many former promotions `rollback` can go back."""

Version = Annotated[int, Field(ge=1)]
Label = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]


def check_label(label: str) -> str:
    """Return the label; InvalidRequestError when no version may be called so."""
    if not re.fullmatch(r"[a-z][a-z0-9_.-]{0,63}", label):
        raise InvalidRequestError(
            f"a label must be 1 to 64 of a-z, 0-9, '_', '.' and '-', and begin with a letter: "
            f"not {label!r}"
        )
    return label


class Releases(Record):
    """What was decided about the versions of one model. Each method returns the changed record."""

    sequence: Annotated[int, Field(ge=0)] = 0
    """Number of the change that led here; 0: nothing was ever decided."""
    promoted: Version | None = None
    """The version that answers to the bare name; None: the newest one that can be served."""
    history: tuple[Version, ...] = ()
    """What was promoted before, oldest first."""
    labels: Mapping[Label, Version] = Field(default_factory=dict)
    """NAME@label → version."""
    retired: frozenset[Version] = frozenset()
    """Versions that are not to be served; their files stay."""

    def promote(self, version: int) -> Self:
        """Let a version answer to the bare name; InvalidRequestError when it is retired."""
        self._check_not_retired(version)
        if version == self.promoted:
            return self
        before = () if self.promoted is None else (self.promoted,)
        history = (*self.history, *before)[-KEPT_PROMOTIONS:]
        return self._with(promoted=version, history=history)

    def rollback(self) -> Self:
        """Promote what was promoted before; InvalidRequestError when nothing was.

        What is rolled back does not become part of the history: doing it twice goes back twice.
        """
        left = [version for version in self.history if version not in self.retired]
        if not left:
            raise InvalidRequestError(
                "no version was promoted before the present one", reason="NOTHING_TO_ROLL_BACK"
            )
        return self._with(promoted=left[-1], history=tuple(left[:-1]))

    def label(self, label: str, version: int) -> Self:
        """Give a version a name of its own, which is taken from the version that had it."""
        self._check_not_retired(version)
        return self._with(labels={**self.labels, check_label(label): version})

    def unlabel(self, label: str) -> Self:
        """Take a label away; InvalidRequestError when no version has it."""
        if label not in self.labels:
            raise InvalidRequestError(f"no version is labelled {label!r}", reason="UNKNOWN_LABEL")
        return self._with(labels={key: n for key, n in self.labels.items() if key != label})

    def retire(self, version: int) -> Self:
        """Serve a version no more; InvalidRequestError when it is promoted or labelled."""
        if version == self.promoted:
            raise InvalidRequestError(
                f"version {version} is promoted: promote another one first", reason="IN_USE"
            )
        if names := sorted(label for label, n in self.labels.items() if n == version):
            raise InvalidRequestError(
                f"version {version} is labelled {', '.join(names)}: label another one first",
                reason="IN_USE",
            )
        return self._with(retired=self.retired | {version})

    def unretire(self, version: int) -> Self:
        """Let a version be served again."""
        return self._with(retired=self.retired - {version})

    def without(self, version: int) -> Self:
        """Return the record after a version's files were removed: nothing points at it."""
        if version == self.promoted or version in self.labels.values():
            self.retire(version)  # raises, with the reason
        return self._with(
            history=tuple(each for each in self.history if each != version),
            retired=self.retired - {version},
        )

    def current(self, versions: Collection[int]) -> int | None:
        """Return which of these answers to the bare name: the promoted one, or the newest."""
        if self.promoted is not None:
            return self.promoted
        return max((version for version in versions if version not in self.retired), default=None)

    def _check_not_retired(self, version: int) -> None:
        if version in self.retired:
            raise InvalidRequestError(f"version {version} is retired", reason="RETIRED")

    def _with(self, **changes: Any) -> Self:
        changed = self.model_copy(update=changes)
        return (
            self if changed == self else changed.model_copy(update={"sequence": self.sequence + 1})
        )

    @classmethod
    def from_json(cls, text: bytes, where: str) -> Self:
        """Return the record in a file; ModelRefusedError, naming `where`, when it is not one."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ModelRefusedError(
                f"{where} is not a record of releases: {first['msg']}"
            ) from error

    def to_json(self) -> bytes:
        """Return the content of the file."""
        return (self.model_dump_json(indent=2) + "\n").encode()
