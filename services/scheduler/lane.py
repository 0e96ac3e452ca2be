"""The shards that serve one model, as columns: when each could begin, what an image costs.

Everything that a decision looks at for all shards at once is a numpy array; what a message
changes is one element. With 512 shards the level would cost more than the rest of a grant, so it
is kept: granting exactly a shard's share moves queue and absorption by the same number of images
and leaves the level where it is, and what arrives moves it by images / slope. It is computed
anew once that is more than TOLERANCE_S, more than one in MOVES members moved, or it is REFRESH_S
old.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from services.common.scheduling.costs import CostModel
from services.scheduler.descriptors import Candidate, Serving
from services.scheduler.waterfill import FEW, Floats, Level, level

TOLERANCE_S: Final = 0.0005
"""How far arrivals may move the level before it is computed anew."""
MOVES: Final = 16
"""One in so many members may have moved."""
REFRESH_S: Final = 0.001
"""How old the columns and the level may be: idle and overdue shards move with the time."""
LOOK_S: Final = 0.001
LOOK_SHARE: Final = 0.1
"""A parked member is looked at again no sooner, and not before what it waits for is a tenth later
than it is: where several are late together, none gains on another for a long time."""
ROUNDING_S: Final = 1e-9
"""Two ways of computing one moment may differ by so much."""
SHOWN: Final = 3
"""Candidates that a grant names."""

NOWHERE: Final = np.empty(0)


@dataclass(slots=True, eq=False)
class Clock:
    """What is known of one shard's device, whichever model it runs; seconds on one clock."""

    shard: str
    end: float
    """Predicted end of all that was granted to it."""
    started: float
    """When the batch on the device began."""
    busy: bool = False
    flight: float = 0.0
    """Seconds from a grant until its tensors have reached the shard."""

    def free_at(self, now: float) -> float:
        """When it can begin something that is granted now.

        Past its predicted end a batch has as much to go as it is late, up to half of the time
        that it has run: noise of a millisecond stays a millisecond, and a shard that hangs
        looks the worse the longer it does.
        """
        left = self.end - now
        if left < 0:
            left = min(-left, (now - self.started) / 2) if self.busy else 0.0
        return now + max(left, self.flight)


@dataclass(slots=True, eq=False)
class Member:
    """One shard as a server of one model."""

    clock: Clock
    serving: Serving
    costs: CostModel
    position: int = -1


class Lane:
    """All members for one model. Not thread-safe."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._order: list[Member] = []
        self._ready: dict[str, Member] = {}
        self._stale = True
        self._a = self._c = self._limit = NOWHERE
        self._end = self._began = self._busy = self._flight = self._start = NOWHERE
        self._start_time = 0.0
        self._level: Level | None = None
        self._queued = 0
        self._granted = 0
        self._moves = 0
        """Images granted, and members that moved, since the level was computed."""

    def add(self, member: Member, *, ready: bool) -> None:
        """Add a shard that serves the model now, and may have a credit."""
        self.members[member.clock.shard] = member
        self.set_ready(member, ready)
        self._stale = True

    def remove(self, shard: str) -> None:
        """Take out a shard that no longer serves the model."""
        del self.members[shard]
        self._ready.pop(shard, None)
        self._stale = True

    # What changes at one member.

    def moved(self, member: Member, now: float, granted: int = 0) -> None:
        """The member's clock or costs are no longer what they were; it was granted images."""
        if self._stale:
            return
        at, clock, cost = member.position, member.clock, member.costs.cost
        self._start[at], self._a[at], self._c[at] = clock.free_at(now) + cost.a, cost.a, cost.c
        self._end[at], self._began[at] = clock.end, clock.started
        self._busy[at], self._flight[at] = clock.busy, clock.flight
        self._granted += granted
        self._moves += 1

    def set_ready(self, member: Member, ready: bool) -> None:
        """The member has a credit, or has none any more."""
        if ready:
            self._ready[member.clock.shard] = member
        else:
            self._ready.pop(member.clock.shard, None)

    # What is asked of all.

    @property
    def ready(self) -> int:
        """How many members have a credit."""
        return len(self._ready)

    def filled_at(self, images: int, now: float) -> float:
        """Return when all members together will have run so many images: their level."""
        self._refresh(now)
        return self._level_at(images)

    def run_s(self, images: int) -> float:
        """Return the seconds that one batch of so many images, at most a full one, takes at least.

        To be asked after `filled_at`.
        """
        return float((self._a + self._c * np.minimum(images, self._limit)).min())

    def terms(self, member: Member) -> tuple[float, float]:
        """Return when the member could begin to run images, and seconds an image."""
        return self._start.item(member.position), self._c.item(member.position)

    def first_ready(self, images: int, now: float, besides: Collection[str] = ()) -> Member | None:
        """The member with a credit that would finish so many images first.

        Shards in `besides` are left out.
        """
        self._refresh(now)
        ready: Collection[Member] = self._ready.values()
        if besides:
            ready = [member for member in ready if member.clock.shard not in besides]
        if not ready:
            return None
        if len(ready) <= FEW:
            start, c = self._start, self._c
            return min(
                ready,
                key=lambda member: start.item(member.position) + c.item(member.position) * images,
            )
        finish = self._start + self._c * images
        places = [member.position for member in ready]
        return self._order[places[int(finish[places].argmin())]]

    def is_first(self, member: Member, images: int) -> bool:
        """No member, with a credit or without, would finish so many images before this one."""
        finish = self._start + self._c * images
        return bool(finish[member.position] <= finish.min())

    def look_again_at(
        self, member: Member, images: int, share: float, queued: int, now: float
    ) -> float:
        """Return when a parked member may become the better choice; infinite: never by time.

        That is when nobody would finish `images` before it, or when it takes `share` images of
        the queue. It stays as far behind until another one falls back: by a second a second
        where that one's tensors could not arrive before its predicted end, by two at most when
        it is late (Clock.free_at). A member that idles loses one itself. No look before the
        returned moment would find anything new.
        """
        at, starts = member.position, self._start
        idle = member.clock.end - now <= member.clock.flight
        gain, falls_back = (1.0, self._end) if idle else (2.0, self._end - self._flight)
        falls_back = np.maximum(falls_back, now)
        finish = starts + self._c * images
        gaps = finish.item(at) - finish
        first_at: float = np.where(gaps > 0, falls_back + gaps / gain, 0.0).max().item()
        level = self._level_at(queued)
        gap = starts.item(at) + share * self._c.item(at) - level
        if gap > -ROUNDING_S:  # otherwise its share suffices: it is parked for another reason
            one_at: float = np.where(starts <= level, falls_back, np.inf).min().item()
            first_at = min(first_at, one_at + gap / gain)
        late: float = np.where(gaps > 0, (now - self._end) * self._busy, 0.0).max().item()
        return max(first_at, now + max(LOOK_SHARE * late, LOOK_S))

    def share(self, member: Member, queued: int) -> float:
        """Images that the member takes when all together absorb the queue; not rounded."""
        at = member.position
        images = (self._level_at(queued) - self._start.item(at)) / self._c.item(at)
        return min(max(images, 0.0), member.serving.max_batch)

    def soonest(self, images: int, now: float) -> tuple[Candidate, ...]:
        """The members that would finish so many images first, at most SHOWN, best first."""
        finish = self._start + self._c * images
        found = []
        for _ in range(min(SHOWN, len(finish))):  # for so few cheaper than a partition
            at = int(finish.argmin())
            found.append(Candidate(self._order[at].clock.shard, finish.item(at) - now))
            finish[at] = np.inf
        return tuple(found)

    def _level_at(self, queued: int) -> float:
        found = self._level
        if found is not None and self._moves <= len(self._order) // MOVES:
            # What was granted since left the queue and is absorbed by a shard: no change.
            balance = queued + self._granted - self._queued
            if abs(balance) <= found.slope * TOLERANCE_S:
                return found.at + balance / found.slope
        full = self._a / self._limit + self._c
        self._level = found = level(self._start, self._c, self._limit, full, queued)
        self._queued, self._granted, self._moves = queued, 0, 0
        return found.at

    def _refresh(self, now: float) -> None:
        """Bring the columns up to date: idle and overdue shards move with the time."""
        if self._stale:
            self._rebuild()
        elif now - self._start_time <= REFRESH_S:
            return
        self._start_time = now
        self._level = None
        if len(self._order) <= FEW:
            for at, member in enumerate(self._order):
                self._start[at] = member.clock.free_at(now) + member.costs.cost.a
            return
        late = now - self._end
        left = np.where(late > 0, np.minimum(late, (now - self._began) / 2) * self._busy, -late)
        self._start = np.maximum(left, self._flight) + (now + self._a)

    def _rebuild(self) -> None:
        self._order = members = list(self.members.values())
        for at, member in enumerate(members):
            member.position = at
        self._start = np.zeros(len(members))
        self._a = _column(member.costs.cost.a for member in members)
        self._c = _column(member.costs.cost.c for member in members)
        self._limit = _column(member.serving.max_batch for member in members)
        self._end = _column(member.clock.end for member in members)
        self._began = _column(member.clock.started for member in members)
        self._busy = _column(member.clock.busy for member in members)
        self._flight = _column(member.clock.flight for member in members)
        self._stale = False


def _column(values: Iterable[float]) -> Floats:
    return np.fromiter(values, dtype=np.float64)
