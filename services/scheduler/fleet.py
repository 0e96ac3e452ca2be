"""What is known of the shards: credits, grants in hand, clocks and costs."""

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.common.metrics.counts import Histogram
from services.common.models.key import ModelKey
from services.common.scheduling.costs import CostModel, Ran, prior
from services.common.scheduling.utilisation import full_batch_s
from services.scheduler.descriptors import Grant, Serving
from services.scheduler.lane import Clock, Lane, Member
from services.scheduler.usage import Usage

SILENT_S: Final = 0.25
"""A shard that has nothing to do for so long and does not pull is taken to hang."""
FAR_S: Final = 1e6
"""When a shard that hangs is taken to be free."""


@dataclass(slots=True, eq=False)
class Shard:
    """One connected shard."""

    clock: Clock
    usage: Usage
    members: dict[ModelKey, Member] = field(default_factory=dict)
    costs: dict[ModelKey, CostModel] = field(default_factory=dict)
    """Of every version that it served since it joined."""
    full_batch_s: dict[ModelKey, float] = field(default_factory=dict)
    """Seconds that the images it ran take at full-batch speed, by version."""
    withdrawn: dict[ModelKey, Serving] = field(default_factory=dict)
    """Versions that it has and gets no grants for, until it says again what it has."""
    credits: deque[float] = field(default_factory=deque)
    """When each pull that is not granted yet was made."""
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        """It asked for work or has some; one that hangs lets its leases expire."""
        return bool(self.credits or self.grants)


class Fleet:
    """All connected shards. Not thread-safe."""

    def __init__(self, batch_ratio: Histogram) -> None:
        """`batch_ratio` counts took / predicted of every batch."""
        self._batch_ratio = batch_ratio
        self.credits = 0
        """Pulls of all shards that are not granted yet."""
        self.shards: dict[str, Shard] = {}
        self._lanes: dict[ModelKey, Lane] = {}
        self._touched: dict[str, Shard] = {}

    @property
    def models(self) -> Iterable[ModelKey]:
        """The versions that a shard serves."""
        return self._lanes.keys()

    def lane(self, model: ModelKey) -> Lane | None:
        """The shards that serve a version; None when there are none."""
        return self._lanes.get(model)

    def join(self, name: str, now: float) -> None:
        """Add a shard that is not known."""
        self.shards[name] = Shard(Clock(name, end=now, started=now), Usage(now))

    def serve(self, name: str, serving: Mapping[ModelKey, Serving]) -> None:
        """The shard serves these versions, and no others."""
        shard = self.shards[name]
        for model in shard.members:
            self._remove(model, name)
        shard.members = {}
        shard.withdrawn = {}
        for model, terms in serving.items():
            self._add(shard, model, terms)

    def withdraw(self, name: str, model: ModelKey) -> None:
        """The shard serves a version no more, whatever it has in hand; harmless if it did not."""
        shard = self.shards[name]
        if (member := shard.members.pop(model, None)) is not None:
            shard.withdrawn[model] = member.serving
            self._remove(model, name)

    def restore(self, name: str, models: Collection[ModelKey]) -> None:
        """The shard serves these of the withdrawn versions after all."""
        shard = self.shards[name]
        for model in shard.withdrawn.keys() & models:
            self._add(shard, model, shard.withdrawn.pop(model))

    def pulled(self, name: str, now: float, remaining_s: float, flight_s: float | None) -> None:
        """Add a credit; what the shard says of its own rest counts more than our prediction."""
        shard = self.shards[name]
        shard.credits.append(now)
        self.credits += 1
        shard.clock.end = now + remaining_s
        # What it runs without a grant of ours (a former scheduler's) is no sign of being late: we
        # are never told of its end.
        shard.clock.busy = bool(shard.grants)
        if flight_s is not None:
            shard.clock.flight = flight_s
        self._touched[name] = shard
        if len(shard.credits) == 1:
            self._set_ready(shard, ready=True)

    def forget_credits(self, name: str) -> None:
        """The shard takes none of the grants that it asked for."""
        shard = self.shards[name]
        self.credits -= len(shard.credits)
        shard.credits.clear()
        self._set_ready(shard, ready=False)

    def granted(self, name: str, grant: Grant, now: float) -> None:
        """Use up a credit of the shard."""
        shard = self.shards[name]
        shard.credits.popleft()
        self.credits -= 1
        if not shard.credits:
            self._set_ready(shard, ready=False)
        clock = shard.clock
        if not clock.busy:
            clock.started = clock.free_at(now)
        shard.grants[grant.grant_id] = grant
        clock.end, clock.busy = grant.finish, True
        for model, member in shard.members.items():
            granted = grant.images if model == grant.model and not grant.hedge else 0
            self._lanes[model].moved(member, now, granted)

    def finished(self, name: str, grant_id: str, now: float, ran: Iterable[Ran]) -> None:
        """Take a grant off the shard's hands and learn from what it ran."""
        shard = self.shards.get(name)
        grant = shard.grants.pop(grant_id, None) if shard else None
        if shard is None or grant is None:
            return
        member = shard.members.get(grant.model)
        costs = shard.costs[grant.model]
        for batch in ran:
            self._batch_ratio.observe(batch.seconds / costs.cost.seconds(batch.images))
            costs.observe(batch)
            if member is not None:
                limit = member.serving.max_batch
                seconds = batch.images * full_batch_s(costs.cost, limit)
                shard.usage.ran(seconds, now)
                shard.full_batch_s[grant.model] = shard.full_batch_s.get(grant.model, 0.0) + seconds
        self._restart(shard, now)

    def leave(self, name: str) -> list[str]:
        """Forget a shard; return the grants that it had in hand. Harmless when unknown."""
        shard = self.shards.pop(name, None)
        if shard is None:
            return []
        self._touched.pop(name, None)
        self.credits -= len(shard.credits)
        for model in shard.members:
            self._remove(model, name)
        return list(shard.grants)

    def expire(self, now: float) -> None:
        """Take expired grants off the shards' hands."""
        for shard in self.shards.values():
            expired = [grant.grant_id for grant in shard.grants.values() if grant.expires <= now]
            for grant_id in expired:
                del shard.grants[grant_id]
            if expired:
                self._restart(shard, now)
            silent = bool(expired) or shard.clock.end < now - SILENT_S
            if silent and not shard.at_work:
                # It neither works nor asks for work: nothing may be left to it until it pulls.
                shard.clock.end = now + FAR_S
                self._touched[shard.clock.shard] = shard

    def settle(self, now: float) -> None:
        """Let the lanes know what messages changed; to be called before they are asked."""
        for shard in self._touched.values():
            for model, member in shard.members.items():
                self._lanes[model].moved(member, now)
        self._touched.clear()

    def run_s(self, model: ModelKey, images: int) -> float:
        """Return the seconds that one batch of so many images takes at least."""
        lane = self._lanes.get(model)
        return lane.run_s(images) if lane else 0.0

    def overlap(self, model: ModelKey, other: ModelKey) -> float:
        """Return which share of a version's shards serves another version as well."""
        lane, others = self._lanes.get(model), self._lanes.get(other)
        if lane is None or others is None:
            return 0.0
        return len(lane.members.keys() & others.members.keys()) / len(lane.members)

    def _restart(self, shard: Shard, now: float) -> None:
        """A batch ended: the next one in hand, if any, began no later than now.

        So the end is never moved back: a report that comes late must not undo what the shard
        said with its last pull.
        """
        clock = shard.clock
        clock.started = now
        clock.busy = bool(shard.grants)
        rest = [shard.costs[g.model].cost.seconds(g.images) for g in shard.grants.values()]
        clock.end = min(clock.end, now + sum(rest))
        self._touched[clock.shard] = shard

    def _set_ready(self, shard: Shard, *, ready: bool) -> None:
        for model, member in shard.members.items():
            self._lanes[model].set_ready(member, ready)

    def _add(self, shard: Shard, model: ModelKey, terms: Serving) -> None:
        if model not in shard.costs:
            shard.costs[model] = CostModel(prior(terms.measured))
        member = Member(shard.clock, terms, shard.costs[model])
        shard.members[model] = member
        self._lanes.setdefault(model, Lane()).add(member, ready=bool(shard.credits))

    def _remove(self, model: ModelKey, name: str) -> None:
        lane = self._lanes[model]
        lane.remove(name)
        if not lane.members:
            del self._lanes[model]
