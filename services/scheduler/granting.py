"""The policy: which of the ready shards gets which of the waiting pieces, and when.

As long as pieces wait and credits are left, the ready shard that would finish first gets a
grant: as many images as bring it to the level to which all shards together absorb the queue
(waterfill.py), at least MIN_GRANT_IMAGES. It is parked instead when others would be done with
all that waits before it had run half of that: a much slower shard must not get the last piece.
Within a model the order is that of fairness.py; models take turns, a grant each.

Where nothing waits and shards are parked, pieces on an overdue shard are leased a second time,
inside the budget of hedging.py.

Time alone changes two things. A shard that is late looks the worse the later it is, so one that
is parked for its sake may become the better choice (Lane.look_again_at); and a lease becomes
overdue. All else waits for a message: `wake_at` names no other moment.
"""

import itertools
import math
from collections.abc import MutableMapping
from typing import Final, NamedTuple

from services.common.models.key import ModelKey
from services.scheduler.descriptors import Grant, Piece
from services.scheduler.fairness import FairQueue
from services.scheduler.fleet import Fleet
from services.scheduler.hedging import HedgeBudget, overdue_at
from services.scheduler.lane import Lane, Member
from services.scheduler.leases import Lease, Leases

MIN_GRANT_IMAGES: Final = 5
"""Below it a batch is mostly fixed cost (a/c is 4 for the base workload)."""
PARK_BELOW: Final = 0.2
"""A shard whose share is less than this much of the least grant is parked."""
OVERFILL: Final = 1.25
"""A grant is so many times the share while no other shard idles: more will have arrived before it
is run, and fuller batches cost less an image."""
RESERVE: Final = 1.3
"""A piece is taken to be in time when so many times the predicted time is left."""
LEASE_FACTOR: Final = 8.0
LEASE_MIN_S: Final = 0.25
LEASE_MAX_S: Final = 10.0
"""A lease expires so many predicted durations after the predicted end, within these limits."""


class _Portion(NamedTuple):
    """What a shard is to take off the queue."""

    target: float
    """Images; it may be some more, so that pieces stay whole,"""
    room: float
    """but not so many that the first one is late."""
    due: float
    """The earliest deadline that it can meet."""


class Granting:
    """Turns credits and waiting pieces into leases. Not thread-safe."""

    def __init__(
        self,
        epoch: str,
        fleet: Fleet,
        queues: MutableMapping[ModelKey, FairQueue],
        leases: Leases,
        budget: HedgeBudget,
    ) -> None:
        """`queues` holds none that is empty; it is changed here and by the core."""
        self._epoch = epoch
        self._fleet = fleet
        self._queues = queues
        self._leases = leases
        self._grant_ids = itertools.count(1)
        self._budget = budget
        self._look_at = math.inf

    def assign(self, now: float) -> list[Grant]:
        """Return the grants that credits and waiting pieces allow, leased from now on."""
        grants: list[Grant] = []
        progress = True
        self._look_at = math.inf
        self._fleet.settle(now)
        while progress and self._fleet.credits and self._queues:
            progress = False
            self._look_at = math.inf
            for model in list(self._queues):
                if (grant := self._next_grant(model, now)) is not None:
                    grants.append(grant)
                    progress = True
                    self._others_first(model)
        if self._may_hedge:
            for lease in self._leases.overdue(now):
                grants.extend(self._hedge(lease, now))
        return grants

    @property
    def wake_at(self) -> float | None:
        """When time may change what `assign` returned last; None: only a message can."""
        if not self._fleet.credits:  # a parked one was granted for another model
            return None
        look_at = self._look_at
        if self._may_hedge and (overdue := self._leases.next_overdue) is not None:
            look_at = min(look_at, overdue)
        return None if look_at == math.inf else look_at

    @property
    def _may_hedge(self) -> bool:
        # A credit and a larger budget come with messages and grants: nothing to wait for.
        return self._fleet.credits > 0 and self._budget.covers(1)

    def _others_first(self, model: ModelKey) -> None:
        if (queue := self._queues.pop(model, None)) is not None:
            self._queues[model] = queue

    def _next_grant(self, model: ModelKey, now: float) -> Grant | None:
        queue, lane = self._queues[model], self._fleet.lane(model)
        passed_over: set[str] = set()
        grant = None
        while lane is not None and queue and grant is None:
            least = min(MIN_GRANT_IMAGES, queue.images)
            member = lane.first_ready(least, now, passed_over)
            if member is None:
                break
            pieces = self._choose(queue, lane, member, now, must=bool(passed_over))
            if pieces is None:
                share = PARK_BELOW * least
                look_at = lane.look_again_at(member, least, share, queue.images, now)
                self._look_at = min(self._look_at, look_at)
                break
            if pieces:
                grant = self._lease(model, lane, member, pieces, now, hedge=False)
            else:  # all that waits avoids this shard
                passed_over.add(member.clock.shard)
        if not queue:
            del self._queues[model]
        return grant

    def _choose(
        self, queue: FairQueue, lane: Lane, member: Member, now: float, *, must: bool
    ) -> list[Piece] | None:
        """Take pieces for a member off the queue; None when it is better parked.

        `must`: it is not parked for the sake of better shards, which the pieces avoid.
        """
        least = min(MIN_GRANT_IMAGES, queue.images)
        share = lane.share(member, queue.images)
        target = max(share if lane.ready > 1 else OVERFILL * share, least)
        portion = _in_time(queue, lane.terms(member), target, least, now)
        if portion is None or share < PARK_BELOW * least:
            if not must and not lane.is_first(member, least):
                return None
            portion = portion or _Portion(target, math.inf, now)
        target, room, due = portion
        shard = member.clock.shard

        def fits(piece: Piece) -> bool:
            avoided = piece.avoid and shard in piece.avoid
            return not avoided or not self._others_at_work(piece, lane)

        limit = int(min(room, member.serving.max_batch))
        return queue.take(target, limit, fits, due)

    def _others_at_work(self, piece: Piece, lane: Lane) -> bool:
        """Another shard is likely to take the piece soon.

        Otherwise a shard that could not be reached once is better than waiting for ever: it may
        be back.
        """
        return any(
            shard not in piece.avoid and self._fleet.shards[shard].at_work for shard in lane.members
        )

    def _hedge(self, lease: Lease, now: float) -> list[Grant]:
        model = lease.grant.model
        lane = self._fleet.lane(model)
        pieces = [p for p in lease.open.values() if len(p.grants) == 1 and p.deadline > now]
        images = sum(piece.images for piece in pieces)
        if lane is None or not pieces or model in self._queues or not self._budget.covers(images):
            return []
        unwanted = {lease.grant.shard}.union(*(piece.avoid for piece in pieces))
        member = lane.first_ready(images, now, unwanted)
        if member is None or images > member.serving.max_batch:
            return []
        self._leases.hedged(lease)
        return [self._lease(model, lane, member, pieces, now, hedge=True)]

    def _lease(
        self,
        model: ModelKey,
        lane: Lane,
        member: Member,
        pieces: list[Piece],
        now: float,
        *,
        hedge: bool,
    ) -> Grant:
        name = member.clock.shard
        images = sum([piece.images for piece in pieces])
        finish = member.clock.free_at(now) + member.costs.cost.seconds(images)
        patience = min(max(LEASE_FACTOR * (finish - now), LEASE_MIN_S), LEASE_MAX_S)
        grant = Grant(
            grant_id=f"{self._epoch}-{next(self._grant_ids)}",
            shard=name,
            model=model,
            pieces=tuple([piece.key for piece in pieces]),
            images=images,
            expires=finish + patience,
            finish=finish,
            parked_s=now - self._fleet.shards[name].credits[0],
            hedge=hedge,
            best=lane.soonest(images, now) if any(p.explain for p in pieces) else (),
        )
        self._leases.grant(grant, pieces, overdue_at(now, finish))
        self._fleet.granted(name, grant, now)
        if hedge:
            self._budget.spend(images)
        else:
            self._budget.earn(images)
        return grant


def _in_time(
    queue: FairQueue, terms: tuple[float, float], target: float, least: float, now: float
) -> _Portion | None:
    """Return what a shard is to take.

    The first due of all pieces that it can finish in time decides, with a smaller batch if need be.
    What it can't finish in time at all is left to faster ones; None when that is all that waits.
    One piece that nobody can finish any more must not make the batch too long for the next one.
    """
    start, c = terms
    smallest = max(target / 2, least)
    first = queue.first_due(now + RESERVE * (start - now + c * min(target, smallest)))
    if first is None:
        return None
    room = ((first - now) / RESERVE - (start - now)) / c
    return _Portion(min(target, room), room, first)
