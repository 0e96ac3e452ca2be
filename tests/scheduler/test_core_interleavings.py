"""Whatever comes in whatever order: no piece is lost, doubled, or left waiting for nothing."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler import hedging
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, Piece, Serving
from services.scheduler.pieces import PieceKey

MODELS = [ModelKey("cats", 1), ModelKey("dogs", 1)]
SHARDS = ["s1", "s2", "s3"]
DISPATCHERS = ["d1", "d2"]
HEDGE_SHARE = 0.5  # more than in production, so that short runs hedge at all
TENANTS = ["quiet", "noisy", "other"]

models = st.sampled_from(MODELS)
shards = st.sampled_from(SHARDS)
dispatchers = st.sampled_from(DISPATCHERS)
picks = st.integers(0, 1000)
servings = st.dictionaries(
    models,
    st.builds(
        Serving,
        max_batch=st.integers(1, 32),
        measured=st.sampled_from([(), (Ran(8, 0.012),), (Ran(1, 0.02), Ran(32, 0.12))]),
    ),
    min_size=1,
)


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


class Scheduling(RuleBasedStateMachine):
    """Drives a scheduler with random messages and keeps its own account of them."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler("epoch", hedge_share=HEDGE_SHARE)
        self.now = 0.0
        self.arrivals = 0
        self.pieces: dict[PieceKey, Waiting] = {}
        self.shards: dict[str, Shard] = {}
        self.granted: list[Grant] = []
        self.granted_at: dict[str, float] = {}
        self.waste = 0
        self.prompt = False

    @initialize(prompt=st.booleans(), cluster=st.dictionaries(shards, servings, min_size=1))
    def start(self, prompt: bool, cluster: dict[str, dict[ModelKey, Serving]]) -> None:
        """`prompt`: grants are asked for after every message, as in production."""
        self.prompt = prompt
        for shard, serving in cluster.items():
            self.shard_joins(shard, serving, pulls=1)

    @invariant()
    def assign_at_once(self) -> None:
        if self.prompt:
            self.assign()

    # Dispatchers.

    @rule(
        dispatcher=dispatchers,
        model=models,
        tenant=st.sampled_from(TENANTS),
        sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6),
        patience=st.sampled_from([0.05, 0.1, 0.5, 5.0, 60.0]),
    )
    def enqueue(
        self, dispatcher: str, model: ModelKey, tenant: str, sizes: list[int], patience: float
    ) -> None:
        deadline = self.now + patience
        refusal = self.scheduler.admit(model, sum(sizes), deadline, tenant, self.now)
        if refusal is not None:
            assert any(model in shard.serves for shard in self.shards.values())
            assert refusal.retry_after_s > 0
            assert refusal.predicted_s > refusal.allowed_s
            return
        new = []
        for images in sizes:
            self.arrivals += 1
            key = PieceKey(dispatcher, self.arrivals)
            self.pieces[key] = Waiting(self.arrivals, model, images, deadline, tenant)
            new.append(Piece(key, model, images, deadline, tenant))
        self.scheduler.enqueue(new)

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def enqueue_again(self, pick: int) -> None:
        self.scheduler.enqueue([Piece(self._piece(pick), MODELS[0], 1, deadline=self.now + 99)])

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        key = self._piece(pick)
        self._forget(key)
        self.scheduler.piece_cancelled(key)

    @precondition(lambda self: any(piece.leases for piece in self.pieces.values()))
    @rule(pick=picks)
    def answer(self, pick: int) -> None:
        key = self._leased(pick)
        self.waste += (len(self.pieces[key].leases) - 1) * self.pieces[key].images
        del self.pieces[key]
        self.scheduler.piece_ended(key)

    @rule(dispatcher=dispatchers, number=st.integers(0, 50))
    def end_what_is_unknown(self, dispatcher: str, number: int) -> None:
        key = PieceKey(dispatcher, -number)
        self.scheduler.piece_ended(key)
        self.scheduler.piece_cancelled(key)
        self.scheduler.piece_lost(key, "epoch-1", unreachable=True)

    @precondition(lambda self: self.pieces and self.granted)
    @rule(pick=picks, grant_pick=picks, unreachable=st.booleans())
    def lose(self, pick: int, grant_pick: int, unreachable: bool) -> None:
        self._lose(
            self._piece(pick), self.granted[grant_pick % len(self.granted)], unreachable=unreachable
        )

    @precondition(lambda self: any(piece.leases for piece in self.pieces.values()))
    @rule(pick=picks, unreachable=st.booleans())
    def lose_a_present_lease(self, pick: int, unreachable: bool) -> None:
        key = self._leased(pick)
        self._lose(key, self.pieces[key].leases[0], unreachable=unreachable)

    @rule(dispatcher=dispatchers)
    def dispatcher_left(self, dispatcher: str) -> None:
        for key in [key for key in self.pieces if key.dispatcher == dispatcher]:
            self._forget(key)
        self.scheduler.dispatcher_left(dispatcher)

    # Shards.

    @rule(shard=shards, serving=servings, pulls=st.integers(0, 2))
    def shard_joins(self, shard: str, serving: dict[ModelKey, Serving], pulls: int) -> None:
        self._take_back_all_of(shard)
        self.shards[shard] = Shard(_limits(serving), credits=pulls)
        self.scheduler.shard_joined(shard, self.now)
        self.scheduler.shard_serves(shard, serving)
        for _ in range(pulls):
            self.scheduler.shard_pulled(shard, self.now)

    @rule(shard=shards)
    def shard_leaves(self, shard: str) -> None:
        self._take_back_all_of(shard)
        self.scheduler.shard_left(shard)

    @precondition(lambda self: self.shards)
    @rule(pick=picks, serving=servings)
    def shard_serves(self, pick: int, serving: dict[ModelKey, Serving]) -> None:
        name = self._shard(pick)
        self.shards[name].serves = _limits(serving)
        self.scheduler.shard_serves(name, serving)

    @precondition(lambda self: self.shards)
    @rule(pick=picks, remaining=st.sampled_from([0.0, 0.001, 0.02]))
    def shard_pulls(self, pick: int, remaining: float) -> None:
        name = self._shard(pick)
        self.shards[name].credits += 1
        self.scheduler.shard_pulled(name, self.now, remaining, flight_s=0.002)

    @precondition(lambda self: self.shards)
    @rule(pick=picks)
    def shard_drains(self, pick: int) -> None:
        name = self._shard(pick)
        self.shards[name].serves = {}
        self.shards[name].credits = 0
        self.scheduler.shard_drains(name)

    @precondition(lambda self: self.granted)
    @rule(shard=shards, pick=picks)
    def finish_any_grant(self, shard: str, pick: int) -> None:
        grant = self.granted[pick % len(self.granted)]
        if shard in self.shards:
            self.shards[shard].grants.pop(grant.grant_id, None)
        self.scheduler.grant_finished(shard, grant.grant_id, self.now)

    @precondition(lambda self: any(shard.grants for shard in self.shards.values()))
    @rule(pick=picks, seconds=st.sampled_from([0.005, 0.01, 0.04, 1.0]))
    def finish_in_order_and_pull(self, pick: int, seconds: float) -> None:
        busy = sorted(name for name, shard in self.shards.items() if shard.grants)
        self._finish_and_pull(busy[pick % len(busy)], seconds)

    @rule(rounds=st.integers(1, 6), model=models, tenant=st.sampled_from(TENANTS), hang=shards)
    def serve_for_a_while(self, rounds: int, model: ModelKey, tenant: str, hang: str) -> None:
        """Ordinary work, which saves up a budget for hedging; one shard finishes nothing."""
        for _ in range(rounds):
            self.enqueue("d1", model, tenant, sizes=[8, 8, 3], patience=5.0)
            self.assign()
            self.now += 0.02
            for name, shard in list(self.shards.items()):
                while name != hang and shard.grants:
                    self._finish_and_pull(name, seconds=0.02)
            self.assign()
        self.now += 0.05
        self.assign()

    # Time, and what follows.

    @rule(seconds=st.sampled_from([0.001, 0.005, 0.02, 0.05, 0.3, 1.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        for shard in self.shards.values():
            for grant in list(shard.grants.values()):
                if grant.expires <= self.now:
                    del shard.grants[grant.grant_id]
        for grant in self.granted:
            if grant.expires <= self.now:
                self._take_back(grant)
        over = {key for key, piece in self.pieces.items() if piece.deadline <= self.now}
        dropped = self.scheduler.expire(self.now)
        assert len(dropped) == len(set(dropped))
        assert over <= set(dropped)
        for key in over:
            self._forget(key)

    @rule()
    def assign(self) -> None:
        grants = self.scheduler.assign(self.now)
        for grant in grants:
            self._check_grant(grant)
            for key in grant.pieces:
                self.pieces[key].leases.append(grant)
            self.shards[grant.shard].credits -= 1
            self.shards[grant.shard].grants[grant.grant_id] = grant
            self.granted.append(grant)
            self.granted_at[grant.grant_id] = self.now
        late = [key for key, piece in self.pieces.items() if piece.deadline <= self.now]
        for piece in self.pieces.values():
            assert not self._must_run(piece)
        # Whether a queued piece past its deadline is dropped now or at `expire` is left open.
        for key in late:
            if not self.pieces[key].leases:
                self._forget(key)
                self.scheduler.piece_cancelled(key)

    @invariant()
    def accounts_agree(self) -> None:
        queued = [piece.images for piece in self.pieces.values() if not piece.leases]
        assert self.scheduler.queued_images == sum(queued)
        for name, shard in self.shards.items():
            outstanding = sum(grant.images for grant in shard.grants.values())
            assert self.scheduler.outstanding_images(name) == outstanding
            assert self.scheduler.utilisation(name, self.now) >= 0
        assert self.scheduler.empty == (not self.pieces)
        assert sum(self.scheduler.wasted_images.values()) == self.waste

    @invariant()
    def a_parked_shard_is_looked_at_again(self) -> None:
        pulled = any(shard.credits for shard in self.shards.values())
        if pulled and any(not piece.leases for piece in self.pieces.values()):
            assert self.scheduler.wake_at(self.now) is not None

    def teardown(self) -> None:
        self.accounts_agree()
        for key in list(self.pieces):
            self.scheduler.piece_ended(key)
        assert self.scheduler.empty

    def _check_grant(self, grant: Grant) -> None:
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
        assert len(grant.best) == min(3, len(serving))

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
                    must_wait = piece.deadline <= self.now or self._waits(piece, grant.shard)
                    assert not earlier or must_wait

    def _must_run(self, piece: Waiting) -> bool:
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

    def _forget(self, key: PieceKey) -> None:
        piece = self.pieces.pop(key)
        self.waste += len(piece.leases) * piece.images

    def _lose(self, key: PieceKey, grant: Grant, *, unreachable: bool) -> None:
        piece = self.pieces[key]
        if grant in piece.leases:
            piece.leases.remove(grant)
            self.waste += piece.images
            if unreachable:
                piece.avoid.add(grant.shard)
        self.scheduler.piece_lost(key, grant.grant_id, unreachable=unreachable)

    def _take_back(self, grant: Grant) -> None:
        for piece in self.pieces.values():
            if grant in piece.leases:
                piece.avoid.add(grant.shard)
                piece.leases.remove(grant)
                self.waste += piece.images

    def _take_back_all_of(self, name: str) -> None:
        left = self.shards.pop(name, None)
        for grant in left.grants.values() if left else ():
            self._take_back(grant)

    def _finish_and_pull(self, name: str, seconds: float) -> None:
        grant = self.shards[name].grants.pop(next(iter(self.shards[name].grants)))
        for key in grant.pieces:
            if key in self.pieces and grant in self.pieces[key].leases:
                self.waste += (len(self.pieces[key].leases) - 1) * self.pieces[key].images
                del self.pieces[key]
                self.scheduler.piece_ended(key)
        ran = [Ran(grant.images, seconds)]
        self.scheduler.grant_finished(name, grant.grant_id, self.now, ran)
        self.shards[name].credits += 1
        self.scheduler.shard_pulled(name, self.now)

    def _piece(self, pick: int) -> PieceKey:
        keys = list(self.pieces)
        return keys[pick % len(keys)]

    def _leased(self, pick: int) -> PieceKey:
        keys = [key for key, piece in self.pieces.items() if piece.leases]
        return keys[pick % len(keys)]

    def _shard(self, pick: int) -> str:
        names = sorted(self.shards)
        return names[pick % len(names)]


def _limits(serving: dict[ModelKey, Serving]) -> dict[ModelKey, int]:
    return {model: terms.max_batch for model, terms in serving.items()}


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
