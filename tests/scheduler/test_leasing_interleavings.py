"""Whatever comes in whatever order: no piece is lost, doubled, or left waiting for nothing."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.common.models.key import ModelKey
from services.scheduler.leasing import Grant, LeaseBook
from services.scheduler.pieces import Piece, PieceKey

MODELS = [ModelKey("cats", 1), ModelKey("cats", 2), ModelKey("dogs", 1)]
SHARDS = ["s1", "s2", "s3"]
DISPATCHERS = ["d1", "d2"]
LEASE_S = 10

models = st.sampled_from(MODELS)
shards = st.sampled_from(SHARDS)
dispatchers = st.sampled_from(DISPATCHERS)
picks = st.integers(0, 1000)


@dataclass
class Waiting:
    """What the test knows of one piece that has not ended."""

    arrival: int
    model: ModelKey
    images: int
    deadline: int
    grant: Grant | None = None
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


class Leasing(RuleBasedStateMachine):
    """Drives a book with random messages and keeps its own account of them."""

    def __init__(self) -> None:
        super().__init__()
        self.book = LeaseBook("epoch", lease_s=LEASE_S)
        self.now = 0
        self.arrivals = 0
        self.pieces: dict[PieceKey, Waiting] = {}
        self.shards: dict[str, Shard] = {}
        self.granted: list[Grant] = []

    # Dispatchers.

    @rule(
        dispatcher=dispatchers,
        model=models,
        sizes=st.lists(st.integers(1, 12), min_size=1, max_size=6),
        patience=st.integers(1, 60),
    )
    def enqueue(self, dispatcher: str, model: ModelKey, sizes: list[int], patience: int) -> None:
        new = []
        for images in sizes:
            self.arrivals += 1
            key = PieceKey(dispatcher, self.arrivals)
            self.pieces[key] = Waiting(self.arrivals, model, images, self.now + patience)
            new.append(Piece(key, model, images, deadline=self.now + patience))
        self.book.enqueue(new)

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def enqueue_again(self, pick: int) -> None:
        key = self._piece(pick)
        self.book.enqueue([Piece(key, MODELS[0], 1, deadline=self.now + 99)])

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def complete_or_cancel(self, pick: int) -> None:
        key = self._piece(pick)
        del self.pieces[key]
        self.book.piece_ended(key)

    @rule(dispatcher=dispatchers, number=st.integers(0, 50))
    def end_what_is_unknown(self, dispatcher: str, number: int) -> None:
        key = PieceKey(dispatcher, -number)
        self.book.piece_ended(key)
        self.book.piece_lost(key, "epoch-1", unreachable=True)

    @precondition(lambda self: self.pieces and self.granted)
    @rule(pick=picks, grant_pick=picks, unreachable=st.booleans())
    def lose(self, pick: int, grant_pick: int, unreachable: bool) -> None:
        key = self._piece(pick)
        grant = self.granted[grant_pick % len(self.granted)]
        self._lose(key, grant, unreachable)

    @precondition(lambda self: any(piece.grant for piece in self.pieces.values()))
    @rule(pick=picks, unreachable=st.booleans())
    def lose_the_present_lease(self, pick: int, unreachable: bool) -> None:
        leased = [key for key, piece in self.pieces.items() if piece.grant]
        key = leased[pick % len(leased)]
        grant = self.pieces[key].grant
        assert grant is not None
        self._lose(key, grant, unreachable)

    @rule(dispatcher=dispatchers)
    def dispatcher_left(self, dispatcher: str) -> None:
        for key in [key for key in self.pieces if key.dispatcher == dispatcher]:
            del self.pieces[key]
        self.book.dispatcher_left(dispatcher)

    # Shards.

    @rule(
        shard=shards,
        serves=st.dictionaries(models, st.integers(1, 32), min_size=1),
        pulls=st.integers(0, 2),
    )
    def shard_joins(self, shard: str, serves: dict[ModelKey, int], pulls: int) -> None:
        self._take_back_all_of(shard)
        self.shards[shard] = Shard(serves, credits=pulls)
        self.book.shard_joined(shard)
        self.book.shard_serves(shard, serves)
        for _ in range(pulls):
            self.book.shard_pulled(shard)

    @rule(shard=shards)
    def shard_leaves(self, shard: str) -> None:
        self._take_back_all_of(shard)
        self.book.shard_left(shard)

    @precondition(lambda self: self.shards)
    @rule(pick=picks, serves=st.dictionaries(models, st.integers(1, 32)))
    def shard_serves(self, pick: int, serves: dict[ModelKey, int]) -> None:
        name = self._shard(pick)
        self.shards[name].serves = serves
        self.book.shard_serves(name, serves)

    @precondition(lambda self: self.shards)
    @rule(pick=picks)
    def shard_pulls(self, pick: int) -> None:
        name = self._shard(pick)
        self.shards[name].credits += 1
        self.book.shard_pulled(name)

    @precondition(lambda self: self.shards)
    @rule(pick=picks)
    def shard_drains(self, pick: int) -> None:
        name = self._shard(pick)
        self.shards[name].serves = {}
        self.shards[name].credits = 0
        self.book.shard_drains(name)

    @precondition(lambda self: self.granted)
    @rule(shard=shards, pick=picks)
    def finish_any_grant(self, shard: str, pick: int) -> None:
        grant = self.granted[pick % len(self.granted)]
        if shard in self.shards:
            self.shards[shard].grants.pop(grant.grant_id, None)
        self.book.grant_finished(shard, grant.grant_id)

    @precondition(lambda self: any(shard.grants for shard in self.shards.values()))
    @rule(pick=picks)
    def finish_in_order_and_pull(self, pick: int) -> None:
        busy = sorted(name for name, shard in self.shards.items() if shard.grants)
        name = busy[pick % len(busy)]
        grant_id = next(iter(self.shards[name].grants))
        for key in self.shards[name].grants.pop(grant_id).pieces:
            if key in self.pieces and self.pieces[key].grant is not None:
                del self.pieces[key]
                self.book.piece_ended(key)
        self.book.grant_finished(name, grant_id)
        self.shards[name].credits += 1
        self.book.shard_pulled(name)

    # Time, and what follows.

    @rule(seconds=st.sampled_from([1, 1, 1, 5, LEASE_S]))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds
        for shard in self.shards.values():
            for grant in list(shard.grants.values()):
                if grant.expires <= self.now:
                    del shard.grants[grant.grant_id]
        for piece in self.pieces.values():
            if piece.grant is not None and piece.grant.expires <= self.now:
                piece.avoid.add(piece.grant.shard)
                piece.grant = None
        over = {key for key, piece in self.pieces.items() if piece.deadline <= self.now}
        assert set(self.book.expire(self.now)) == over
        for key in over:
            del self.pieces[key]

    @rule(late=st.integers(0, 3))
    def assign(self, late: int) -> None:
        # The clock may run on between two looks at the deadlines.
        now = self.now + late
        for grant in self.book.assign(now):
            self._check_grant(grant, now)
            for key in grant.pieces:
                self.pieces[key].grant = grant
            self.shards[grant.shard].credits -= 1
            self.shards[grant.shard].grants[grant.grant_id] = grant
            self.granted.append(grant)
        for piece in self.pieces.values():
            assert not self._could_run(piece, now)
        self.now = now

    @invariant()
    def accounts_agree(self) -> None:
        queued = [piece.images for piece in self.pieces.values() if piece.grant is None]
        assert self.book.queued_images == sum(queued)
        for name, shard in self.shards.items():
            outstanding = sum(grant.images for grant in shard.grants.values())
            assert self.book.outstanding_images(name) == outstanding
        assert self.book.empty == (not self.pieces)

    def teardown(self) -> None:
        self.accounts_agree()
        for key in list(self.pieces):
            self.book.piece_ended(key)
        assert self.book.empty

    def _check_grant(self, grant: Grant, now: int) -> None:
        shard = self.shards[grant.shard]
        granted = [self.pieces[key] for key in grant.pieces]
        assert grant.grant_id not in {old.grant_id for old in self.granted}
        assert granted
        assert len(set(grant.pieces)) == len(grant.pieces)
        assert all(piece.grant is None for piece in granted)
        assert all(piece.model == grant.model for piece in granted)
        assert all(piece.deadline > now for piece in granted)
        assert not any(self._waits(piece, grant.shard) for piece in granted)
        assert grant.images == sum(piece.images for piece in granted)
        assert shard.credits > 0
        assert len(granted) == 1 or grant.images <= shard.serves[grant.model]
        assert grant.model in shard.serves
        # First come, first served: what is older and was passed over waits for another shard.
        arrivals = [piece.arrival for piece in granted]
        assert arrivals == sorted(arrivals)
        for piece in self.pieces.values():
            older = piece.arrival < arrivals[-1] and piece not in granted
            if older and piece.grant is None and piece.model == grant.model:
                assert piece.deadline <= now or self._waits(piece, grant.shard)

    def _could_run(self, piece: Waiting, now: int) -> bool:
        return (
            piece.grant is None
            and piece.deadline > now
            and any(
                shard.credits > 0 and piece.model in shard.serves and not self._waits(piece, name)
                for name, shard in self.shards.items()
            )
        )

    def _waits(self, piece: Waiting, shard: str) -> bool:
        others = (
            other
            for name, other in self.shards.items()
            if name not in piece.avoid and piece.model in other.serves
        )
        return shard in piece.avoid and any(other.at_work for other in others)

    def _lose(self, key: PieceKey, grant: Grant, unreachable: bool) -> None:
        piece = self.pieces[key]
        if piece.grant is grant:
            piece.grant = None
            if unreachable:
                piece.avoid.add(grant.shard)
        self.book.piece_lost(key, grant.grant_id, unreachable=unreachable)

    def _take_back_all_of(self, name: str) -> None:
        left = self.shards.pop(name, None)
        for piece in self.pieces.values():
            if left and piece.grant and piece.grant.grant_id in left.grants:
                piece.avoid.add(name)
                piece.grant = None

    def _piece(self, pick: int) -> PieceKey:
        keys = list(self.pieces)
        return keys[pick % len(keys)]

    def _shard(self, pick: int) -> str:
        names = sorted(self.shards)
        return names[pick % len(names)]


TestLeasing = Leasing.TestCase
TestLeasing.settings = settings(max_examples=120, stateful_step_count=60, deadline=None)
