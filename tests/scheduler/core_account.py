"""What the state machine of the scheduling core knows by itself, and what it checks with it."""

from dataclasses import dataclass, field

from hypothesis.stateful import RuleBasedStateMachine

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler import hedging
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, PieceKey
from services.scheduler.expected import Expected, RequestKey
from services.scheduler.granting import MIN_GRANT_IMAGES, OVERFILL, RESERVE

HEDGE_SHARE = 0.5  # more than in production, so that short runs hedge at all
TENANTS = ["quiet", "noisy", "other"]


@dataclass(eq=False)
class Waiting:
    """What the test knows of one piece that has not ended."""

    arrival: int
    model: ModelKey
    images: int
    deadline: float
    tenant: str
    leases: list[Grant] = field(default_factory=list)
    avoid: set[str] = field(default_factory=set)


@dataclass
class Shard:
    """What the test knows of one shard that is connected."""

    serves: dict[ModelKey, int] = field(default_factory=dict)
    credits: int = 0
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def at_work(self) -> bool:
        return self.credits > 0 or bool(self.grants)


class Account(RuleBasedStateMachine):
    """The scheduler under test, and the test's own books of the same messages."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler("epoch", hedge_share=HEDGE_SHARE)
        self.now = 0.0
        self.arrivals = 0
        self.pieces: dict[PieceKey, Waiting] = {}
        self.expected: dict[RequestKey, Expected] = {}
        self.shards: dict[str, Shard] = {}
        self.granted: list[Grant] = []
        self.granted_at: dict[str, float] = {}
        self.waste = 0
        self.prompt = False

    def check_grant(self, grant: Grant) -> None:
        shard = self.shards[grant.shard]
        granted = [self.pieces[key] for key in grant.pieces]
        assert grant.grant_id not in {old.grant_id for old in self.granted}
        assert granted
        assert len(set(grant.pieces)) == len(grant.pieces)
        assert all(piece.model == grant.model for piece in granted)
        assert all(piece.deadline > self.now for piece in granted)
        assert grant.images == sum(piece.images for piece in granted)
        assert shard.credits > 0
        assert len(granted) == 1 or grant.images <= shard.serves[grant.model]
        assert grant.model in shard.serves
        assert grant.expires > grant.finish >= self.now
        assert grant.parked_s >= 0
        self._check_reasons(grant)
        if grant.hedge:
            self._check_hedge(grant, granted)
        else:
            assert all(not piece.leases for piece in granted)
            assert not any(self._waits(piece, grant.shard) for piece in granted)
            self._check_order(grant, granted)

    def _check_reasons(self, grant: Grant) -> None:
        serving = {name for name, shard in self.shards.items() if grant.model in shard.serves}
        times = [candidate.finish_in_s for candidate in grant.best]
        assert times == sorted(times)
        assert {candidate.shard for candidate in grant.best} <= serving
        explained = any(key.piece_id % 2 == 0 for key in grant.pieces)
        assert len(grant.best) == (min(3, len(serving)) if explained else 0)

    def _check_hedge(self, grant: Grant, granted: list[Waiting]) -> None:
        for piece in granted:
            (lease,) = piece.leases
            assert lease.shard != grant.shard
            since = self.granted_at[lease.grant_id]
            assert self.now >= hedging.overdue_at(since, lease.finish)
        ordinary = sum(old.images for old in self.granted if not old.hedge)
        hedged = sum(old.images for old in self.granted if old.hedge) + grant.images
        assert hedged <= HEDGE_SHARE * ordinary + 1e-9

    def _check_order(self, grant: Grant, granted: list[Waiting]) -> None:
        """Within a tenant: nothing that is due earlier stays behind, unless it has to."""
        for tenant in TENANTS:
            mine = [(p.deadline, p.arrival) for p in granted if p.tenant == tenant]
            assert mine == sorted(mine)
            for key, piece in self.pieces.items():
                behind = not piece.leases and key not in grant.pieces
                if mine and behind and piece.tenant == tenant and piece.model == grant.model:
                    earlier = (piece.deadline, piece.arrival) < mine[-1]
                    must_wait = piece.deadline <= self._too_late(grant)
                    assert not earlier or must_wait or self._waits(piece, grant.shard)

    def _too_late(self, grant: Grant) -> float:
        """Pieces due by then may be left behind: the shard might not finish them in time.

        It was asked for a batch of at most OVERFILL times all that waited, and an image takes no
        longer than the share of it in the batch that it got.
        """
        waited = sum(
            piece.images
            for key, piece in self.pieces.items()
            if piece.model == grant.model and (not piece.leases or key in grant.pieces)
        )
        longest = max(OVERFILL * waited, MIN_GRANT_IMAGES) / grant.images
        return self.now + RESERVE * (grant.finish - self.now) * (1 + longest)

    def must_run(self, piece: Waiting) -> bool:
        """Every shard that serves the piece has a credit, and one of them may take it."""
        serving = {n: shard for n, shard in self.shards.items() if piece.model in shard.serves}
        return (
            not piece.leases
            and piece.deadline > self.now
            and bool(serving)
            and all(shard.credits for shard in serving.values())
            and any(not self._waits(piece, name) for name in serving)
        )

    def _waits(self, piece: Waiting, shard: str) -> bool:
        others = (
            other
            for name, other in self.shards.items()
            if name not in piece.avoid and piece.model in other.serves
        )
        return shard in piece.avoid and any(other.at_work for other in others)

    def forget(self, key: PieceKey) -> None:
        piece = self.pieces.pop(key)
        self.waste += len(piece.leases) * piece.images

    def lose_lease(self, key: PieceKey, grant: Grant, *, unreachable: bool) -> None:
        piece = self.pieces[key]
        if grant in piece.leases:
            piece.leases.remove(grant)
            self.waste += piece.images
            if unreachable:
                piece.avoid.add(grant.shard)
        self.scheduler.piece_lost(key, grant.grant_id, unreachable=unreachable)

    def take_back(self, grant: Grant) -> None:
        for piece in self.pieces.values():
            if grant in piece.leases:
                piece.avoid.add(grant.shard)
                piece.leases.remove(grant)
                self.waste += piece.images

    def take_back_all_of(self, name: str) -> None:
        left = self.shards.pop(name, None)
        for grant in left.grants.values() if left else ():
            self.take_back(grant)

    def finish_and_pull(self, name: str, seconds: float) -> None:
        grant = self.shards[name].grants.pop(next(iter(self.shards[name].grants)))
        for key in grant.pieces:
            if key in self.pieces and grant in self.pieces[key].leases:
                self.waste += (len(self.pieces[key].leases) - 1) * self.pieces[key].images
                del self.pieces[key]
                self.scheduler.piece_ended(key, self.now)
        ran = [Ran(grant.images, seconds)]
        self.scheduler.grant_finished(name, grant.grant_id, self.now, ran)
        self.shards[name].credits += 1
        self.scheduler.shard_pulled(name, self.now)

    def some_piece(self, pick: int) -> PieceKey:
        keys = list(self.pieces)
        return keys[pick % len(keys)]

    def some_leased(self, pick: int) -> PieceKey:
        keys = [key for key, piece in self.pieces.items() if piece.leases]
        return keys[pick % len(keys)]

    def some_shard(self, pick: int) -> str:
        names = sorted(self.shards)
        return names[pick % len(names)]
