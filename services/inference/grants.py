"""The grants that a shard has in hand, and the putting together of their parts.

Pure: time comes in as an argument. A grant is announced by the scheduler and its parts come
from dispatchers, in any order. Its batch leaves for the device when all parts are there, or
with what is there when the grant expires; a part that comes later leaves alone.
"""

from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

PartT = TypeVar("PartT")

REMEMBER_S: Final = 30.0
"""How long a finished grant waits for its announcement, which the stream may still bring."""


@dataclass(slots=True)
class _Grant(Generic[PartT]):
    parts: int
    expires: float
    announced: bool = False
    left: bool = False
    finished: bool = False
    arrived: list[PartT] = field(default_factory=list)


class GrantBook(Generic[PartT]):
    """Grants by id. Not thread-safe."""

    def __init__(self) -> None:
        self._grants: dict[str, _Grant[PartT]] = {}

    @property
    def in_hand(self) -> int:
        """Grants of the present scheduler that are not finished."""
        return sum(grant.announced for grant in self._grants.values())

    @property
    def on_their_way(self) -> int:
        """Announced grants whose tensors are not all there."""
        return sum(g.announced and not (g.left or g.finished) for g in self._grants.values())

    def has_left(self, grant_id: str) -> bool:
        """The batch of a grant is with the device, or was."""
        grant = self._grants.get(grant_id)
        return grant is not None and grant.left

    def forget_scheduler(self) -> None:
        """The scheduler's stream ended: nothing of its grants is to be reported any more."""
        for grant_id, grant in list(self._grants.items()):
            grant.announced = False
            if grant.finished or not (grant.arrived or grant.left):
                del self._grants[grant_id]

    def announce(self, grant_id: str, parts: int, expires: float) -> bool:
        """The scheduler made a grant; return whether it is finished already."""
        grant = self._grants.setdefault(grant_id, _Grant(parts, expires))
        grant.announced = True
        if grant.finished:
            del self._grants[grant_id]
        return grant.finished

    def add(self, grant_id: str, part: PartT, parts: int, expires: float) -> list[PartT] | None:
        """Take in a part; return the batch that is to leave now, if any.

        `parts` and `expires` count where the part comes before the announcement.
        """
        grant = self._grants.setdefault(grant_id, _Grant(parts, expires))
        if grant.left:
            return [part]
        grant.arrived.append(part)
        if len(grant.arrived) < grant.parts:
            return None
        return self._leave(grant)

    def expire(self, now: float) -> list[tuple[str, list[PartT]]]:
        """Return the grants that waited long enough, with the parts that came (maybe none)."""
        for grant_id, grant in list(self._grants.items()):
            if grant.finished and grant.expires <= now:
                del self._grants[grant_id]
        return [
            (grant_id, self._leave(grant))
            for grant_id, grant in self._grants.items()
            if not grant.left and grant.expires <= now
        ]

    def finish(self, grant_id: str, now: float) -> bool:
        """A batch of the grant has run; return whether the scheduler is to be told."""
        grant = self._grants.get(grant_id)
        if grant is None or grant.finished or not grant.left:
            # Forgotten since, and perhaps known again by a part that came very late.
            return False
        if grant.announced:
            del self._grants[grant_id]
            return True
        grant.finished = True
        grant.expires = now + REMEMBER_S
        return False

    @property
    def next_expiry(self) -> float | None:
        """When `expire` has something to do again; None when never."""
        return min(
            (g.expires for g in self._grants.values() if g.finished or not g.left), default=None
        )

    @staticmethod
    def _leave(grant: _Grant[PartT]) -> list[PartT]:
        grant.left = True
        arrived, grant.arrived = grant.arrived, []
        return arrived
