"""Whatever comes in whatever order: no piece is lost, doubled, or left waiting for nothing."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler.descriptors import Piece, PieceKey, Serving
from services.scheduler.expected import Expected, RequestKey
from tests.scheduler.core_account import TENANTS, Account, Shard, Waiting

MODELS = [ModelKey("cats", 1), ModelKey("dogs", 1)]
SHARDS = ["s1", "s2", "s3"]
DISPATCHERS = ["d1", "d2"]

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


class Scheduling(Account):
    """Drives a scheduler with random messages and keeps its own account of them."""

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
        new = []
        for images in sizes:
            self.arrivals += 1
            key = PieceKey(dispatcher, self.arrivals)
            new.append(Piece(key, model, images, deadline, tenant, explain=key.piece_id % 2 == 0))
        refusal = self.scheduler.request(new, self.now)
        if refusal is not None:
            assert any(model in shard.serves for shard in self.shards.values())
            assert refusal.retry_after_s > 0
            assert refusal.predicted_s > refusal.allowed_s
            return
        for piece in new:
            number = piece.key.piece_id
            self.pieces[piece.key] = Waiting(number, model, piece.images, deadline, tenant)

    @rule(
        dispatcher=dispatchers,
        model=models,
        tenant=st.sampled_from(TENANTS),
        images=st.integers(1, 40),
        patience=st.sampled_from([0.05, 0.5, 5.0]),
    )
    def expect(
        self, dispatcher: str, model: ModelKey, tenant: str, images: int, patience: float
    ) -> None:
        self.arrivals += 1
        key = RequestKey(dispatcher, self.arrivals)
        expected = Expected(key, model, images, self.now + patience, tenant)
        refusal = self.scheduler.expect(expected, self.now)
        if refusal is None:
            self.expected[key] = expected
        else:
            assert refusal.predicted_s > refusal.allowed_s

    @precondition(lambda self: self.expected)
    @rule(pick=picks)
    def come(self, pick: int) -> None:
        """An expected request's pictures are prepared: it is one piece, or some."""
        expected = self.expected.pop(sorted(self.expected)[pick % len(self.expected)])
        new = []
        for images in (size for size in (expected.images // 2, -(-expected.images // 2)) if size):
            self.arrivals += 1
            key = PieceKey(expected.key.dispatcher, self.arrivals)
            explain = key.piece_id % 2 == 0
            deadline, tenant = expected.deadline, expected.tenant
            new.append(Piece(key, expected.model, images, deadline, tenant, explain=explain))
            self.pieces[key] = Waiting(self.arrivals, expected.model, images, deadline, tenant)
        self.scheduler.enqueue(new)
        self.scheduler.expected_came(expected.key, new[-1].key, self.now)

    @precondition(lambda self: self.expected)
    @rule(pick=picks)
    def abandon(self, pick: int) -> None:
        key = sorted(self.expected)[pick % len(self.expected)]
        del self.expected[key]
        self.scheduler.expected_no_more(key, self.now)
        self.scheduler.expected_no_more(key, self.now)

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def enqueue_again(self, pick: int) -> None:
        self.scheduler.enqueue([Piece(self.some_piece(pick), MODELS[0], 1, deadline=self.now + 99)])

    @precondition(lambda self: self.pieces)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        key = self.some_piece(pick)
        self.forget(key)
        self.scheduler.piece_cancelled(key)

    @precondition(lambda self: any(piece.leases for piece in self.pieces.values()))
    @rule(pick=picks)
    def answer(self, pick: int) -> None:
        key = self.some_leased(pick)
        self.waste += (len(self.pieces[key].leases) - 1) * self.pieces[key].images
        del self.pieces[key]
        self.scheduler.piece_ended(key, self.now)

    @rule(dispatcher=dispatchers, number=st.integers(0, 50))
    def end_what_is_unknown(self, dispatcher: str, number: int) -> None:
        key = PieceKey(dispatcher, -number)
        self.scheduler.piece_ended(key, self.now)
        self.scheduler.piece_cancelled(key)
        self.scheduler.piece_lost(key, "epoch-1", unreachable=True)

    @precondition(lambda self: self.pieces and self.granted)
    @rule(pick=picks, grant_pick=picks, unreachable=st.booleans())
    def lose(self, pick: int, grant_pick: int, unreachable: bool) -> None:
        self.lose_lease(
            self.some_piece(pick),
            self.granted[grant_pick % len(self.granted)],
            unreachable=unreachable,
        )

    @precondition(lambda self: any(piece.leases for piece in self.pieces.values()))
    @rule(pick=picks, unreachable=st.booleans())
    def lose_a_present_lease(self, pick: int, unreachable: bool) -> None:
        key = self.some_leased(pick)
        self.lose_lease(key, self.pieces[key].leases[0], unreachable=unreachable)

    @rule(dispatcher=dispatchers)
    def dispatcher_left(self, dispatcher: str) -> None:
        for key in [key for key in self.pieces if key.dispatcher == dispatcher]:
            self.forget(key)
        for request in [each for each in self.expected if each.dispatcher == dispatcher]:
            del self.expected[request]
        self.scheduler.dispatcher_left(dispatcher, self.now)

    # Shards.

    @rule(shard=shards, serving=servings, pulls=st.integers(0, 2))
    def shard_joins(self, shard: str, serving: dict[ModelKey, Serving], pulls: int) -> None:
        self.take_back_all_of(shard)
        self.shards[shard] = Shard(_limits(serving), credits=pulls)
        self.scheduler.shard_joined(shard, self.now)
        self.scheduler.shard_serves(shard, serving)
        for _ in range(pulls):
            self.scheduler.shard_pulled(shard, self.now)

    @rule(shard=shards)
    def shard_leaves(self, shard: str) -> None:
        self.take_back_all_of(shard)
        self.scheduler.shard_left(shard)

    @precondition(lambda self: self.shards)
    @rule(pick=picks, serving=servings)
    def shard_serves(self, pick: int, serving: dict[ModelKey, Serving]) -> None:
        name = self.some_shard(pick)
        self.shards[name].serves = _limits(serving)
        self.scheduler.shard_serves(name, serving)

    @precondition(lambda self: self.shards)
    @rule(pick=picks, remaining=st.sampled_from([0.0, 0.001, 0.02]))
    def shard_pulls(self, pick: int, remaining: float) -> None:
        name = self.some_shard(pick)
        self.shards[name].credits += 1
        self.scheduler.shard_pulled(name, self.now, remaining, flight_s=0.002)

    @precondition(lambda self: self.shards)
    @rule(pick=picks)
    def shard_drains(self, pick: int) -> None:
        name = self.some_shard(pick)
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
        self.finish_and_pull(busy[pick % len(busy)], seconds)

    @rule(rounds=st.integers(1, 6), model=models, tenant=st.sampled_from(TENANTS), hang=shards)
    def serve_for_a_while(self, rounds: int, model: ModelKey, tenant: str, hang: str) -> None:
        """Ordinary work, which saves up a budget for hedging; one shard finishes nothing."""
        for _ in range(rounds):
            self.enqueue("d1", model, tenant, sizes=[8, 8, 3], patience=5.0)
            self.assign()
            self.now += 0.02
            for name, shard in list(self.shards.items()):
                while name != hang and shard.grants:
                    self.finish_and_pull(name, seconds=0.02)
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
                self.take_back(grant)
        over = {key for key, piece in self.pieces.items() if piece.deadline <= self.now}
        dropped = [piece.key for piece in self.scheduler.expire(self.now)]
        assert len(dropped) == len(set(dropped))
        assert over <= set(dropped)
        for key in over:
            self.forget(key)
        for request in [key for key, each in self.expected.items() if each.deadline <= self.now]:
            del self.expected[request]

    @rule()
    def assign(self) -> None:
        grants = self.scheduler.assign(self.now)
        for grant in grants:
            self.check_grant(grant)
            for key in grant.pieces:
                self.pieces[key].leases.append(grant)
            self.shards[grant.shard].credits -= 1
            self.shards[grant.shard].grants[grant.grant_id] = grant
            self.granted.append(grant)
            self.granted_at[grant.grant_id] = self.now
        if (wake_at := self.scheduler.wake_at) is not None:
            assert wake_at > self.now
            assert any(shard.credits for shard in self.shards.values())
        late = [key for key, piece in self.pieces.items() if piece.deadline <= self.now]
        for piece in self.pieces.values():
            assert not self.must_run(piece)
        # Whether a queued piece past its deadline is dropped now or at `expire` is left open.
        for key in late:
            if not self.pieces[key].leases:
                self.forget(key)
                self.scheduler.piece_cancelled(key)

    @invariant()
    def accounts_agree(self) -> None:
        queued = [piece.images for piece in self.pieces.values() if not piece.leases]
        assert self.scheduler.queued_images == sum(queued)
        for name, shard in self.shards.items():
            outstanding = sum(grant.images for grant in shard.grants.values())
            assert self.scheduler.outstanding_images(name) == outstanding
            assert self.scheduler.utilisation(name, self.now) >= 0
        assert self.scheduler.empty == (not (self.pieces or self.expected))
        assert sum(self.scheduler.wasted_images.values()) == self.waste

    def teardown(self) -> None:
        self.accounts_agree()
        for key in list(self.pieces):
            self.scheduler.piece_ended(key, self.now)
        for request in self.expected:
            self.scheduler.expected_no_more(request, self.now)
        assert self.scheduler.empty


def _limits(serving: dict[ModelKey, Serving]) -> dict[ModelKey, int]:
    return {model: terms.max_batch for model, terms in serving.items()}


TestScheduling = Scheduling.TestCase
TestScheduling.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
