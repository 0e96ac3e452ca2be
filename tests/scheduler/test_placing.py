"""More models than fit: nothing that could be answered is lost, whatever comes and goes."""

from collections.abc import Collection
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Ran
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, Piece, PieceKey, Serving, Why
from services.scheduler.placing import ASKED_S, CURRENT, REPLAN_S, Offer, Offered, Placing

MODELS: Final = [ModelKey(name, version) for name in "abc" for version in (1, 2)]
A, B = MODELS[0], MODELS[2]
STEP_S: Final = 0.05
PATIENCE_STEPS: Final = 600
FAR: Final = 1e6


class SimulatedShard:
    """Does what it is told: unloads, loads one model a step, runs what it is granted."""

    def __init__(self, core: Scheduler, name: str, budget: int) -> None:
        self.name = name
        self.budget = budget
        self.loaded: set[ModelKey] = set()
        self.hold: tuple[ModelKey, ...] | None = None
        self.grants: list[Grant] = []
        self.refuses: set[ModelKey] = set()
        self._core = core
        self._pulled = False
        self._granted_at = 0.0

    def join(self, repository: dict[ModelKey, int], now: float) -> None:
        self._core.shard_joined(self.name, now)
        self.tell_models()
        self.offer(repository)

    def granted(self, grant: Grant, now: float) -> None:
        self.grants.append(grant)
        self._granted_at = now

    def offer(self, repository: dict[ModelKey, int]) -> None:
        newest = {
            key.name: max(k.version for k in repository if k.name == key.name) for key in repository
        }
        models = {
            key: Offered(
                size,
                load_s=STEP_S,
                standing=CURRENT if key.version == newest[key.name] else 3,
                refused=key in self.refuses,
            )
            for key, size in repository.items()
        }
        self._core.shard_offers(self.name, Offer(self.budget, models))

    def tell_models(self) -> None:
        serving = {key: Serving(8, (Ran(8, 0.01),)) for key in self.loaded}
        self._core.shard_serves(self.name, serving)

    def step(self, repository: dict[ModelKey, int], now: float) -> None:
        if self.hold is not None and not self.loaded <= set(self.hold):
            leaving = self.loaded - set(self.hold)
            assert not leaving & {grant.model for grant in self.grants}, "it still works for it"
            self.loaded -= leaving
            self.tell_models()
        missing = [key for key in self.hold or () if key not in self.loaded | self.refuses]
        if missing and missing[0] in repository:
            self.loaded.add(missing[0])
            self.tell_models()
        for grant in self.grants:
            assert grant.model in self.loaded, "it was granted what it does not have"
        if self.grants and now - self._granted_at > 3 * STEP_S:
            grant = self.grants.pop(0)
            self._core.grant_finished(self.name, grant.grant_id, now, [Ran(grant.images, 0.01)])
            for piece in grant.pieces:
                self._core.piece_ended(piece, now)
            self._pulled = False
        if not self._pulled:
            self._pulled = True
            self._core.shard_pulled(self.name, now)


class MoreModelsThanFit(RuleBasedStateMachine):
    """Shards with little memory, and models that are added, removed and asked for at random."""

    def __init__(self) -> None:
        super().__init__()
        self.core = Scheduler("epoch", hedge_share=0.0)
        self.shards: dict[str, SimulatedShard] = {}
        self.repository: dict[ModelKey, int] = {}
        self.sizes: dict[ModelKey, int] = {}
        """Of every version that there ever was."""
        self.now = 0.0
        self.pieces = 0
        self.hot: ModelKey | None = None
        """Asked for all the time."""

    @initialize(budgets=st.lists(st.integers(2, 9), min_size=1, max_size=3))
    def start(self, budgets: list[int]) -> None:
        for number, budget in enumerate(budgets):
            shard = SimulatedShard(self.core, f"s{number}", budget)
            self.shards[shard.name] = shard
            shard.join(self.repository, self.now)

    @rule(key=st.sampled_from(MODELS), size=st.integers(1, 6))
    def add(self, key: ModelKey, size: int) -> None:
        # Versions do not change: one that comes again has the size that it had.
        self.repository[key] = self.sizes.setdefault(key, size)
        self._offer()

    @precondition(lambda self: self.repository)
    @rule(pick=st.integers(0, 5))
    def remove(self, pick: int) -> None:
        key = sorted(self.repository)[pick % len(self.repository)]
        del self.repository[key]
        self._offer()
        self._give_up(key)

    @precondition(lambda self: self.repository)
    @rule(pick=st.integers(0, 5), images=st.integers(1, 8))
    def ask(self, pick: int, images: int) -> None:
        key = sorted(self.repository)[pick % len(self.repository)]
        self.pieces += 1
        piece = Piece(PieceKey("d", self.pieces), key, images, FAR)
        refusal = self.core.request([piece], self.now)
        room = max((shard.budget for shard in self._willing(key)), default=0)
        if refusal is not None:
            assert refusal.why is Why.MODEL_TOO_LARGE
            assert self.repository[key] > room
        elif not self._willing(key):
            self.core.piece_cancelled(piece.key)  # every shard refuses it: the gateway gives up

    @rule(key=st.sampled_from(MODELS))
    def be_hot(self, key: ModelKey) -> None:
        self.hot = key

    @rule(shard=st.sampled_from(["s0", "s1"]), key=st.sampled_from(MODELS))
    def refuse(self, shard: str, key: ModelKey) -> None:
        if shard in self.shards and key not in self.shards[shard].loaded:
            self.shards[shard].refuses.add(key)
            self._offer()
            self._give_up(key)

    @precondition(lambda self: self.shards)
    @rule(pick=st.integers(0, 2))
    def restart(self, pick: int) -> None:
        shard = sorted(self.shards.values(), key=lambda each: each.name)[pick % len(self.shards)]
        self.core.shard_left(shard.name)
        again = SimulatedShard(self.core, shard.name, shard.budget)
        again.refuses = shard.refuses
        self.shards[shard.name] = again
        again.join(self.repository, self.now)
        for key in MODELS:
            self._give_up(key)

    @rule(steps=st.integers(1, 60))
    def time_passes(self, steps: int) -> None:
        for _ in range(steps):
            self._step()

    @invariant()
    def no_budget_is_exceeded(self) -> None:
        for shard in self.shards.values():
            held = [key for key in shard.hold or () if key in self.repository]
            size = sum(self.repository[key] for key in held)
            assert size <= shard.budget or len(shard.hold or ()) == 1

    def teardown(self) -> None:
        for hot in (self.hot, None):
            self.hot = hot
            for _ in range(PATIENCE_STEPS):
                if self._waiting <= {hot}:
                    break
                self._step()
            assert self._waiting <= {hot}, "never answered"
        assert self.core.empty

    @property
    def _waiting(self) -> set[ModelKey | None]:
        return {piece.model for piece in self.core._backlog.pieces()}

    def _step(self) -> None:
        self.now += STEP_S
        if self.hot in self.repository:
            self.ask(sorted(self.repository).index(self.hot), 1)
        for shard in self.shards.values():
            shard.step(self.repository, self.now)
        for grant in self.core.assign(self.now):
            self.shards[grant.shard].granted(grant, self.now)
        self.core.expire(self.now)
        for order in self.core.orders(self.now):
            self.shards[order.shard].hold = order.hold

    def _offer(self) -> None:
        for shard in self.shards.values():
            shard.offer(self.repository)

    def _willing(self, key: ModelKey) -> list[SimulatedShard]:
        return [shard for shard in self.shards.values() if key not in shard.refuses]

    def _give_up(self, key: ModelKey) -> None:
        """As the gateway does, when no shard has a model and none will."""
        if any(key in shard.loaded for shard in self.shards.values()):
            return
        fits = any(self.repository.get(key, FAR) <= shard.budget for shard in self._willing(key))
        if key not in self.repository or not fits:
            for piece in self.core._backlog.pieces():
                if piece.model == key and piece.queued:
                    self.core.piece_cancelled(piece.key)


TestMoreModelsThanFit = MoreModelsThanFit.TestCase
TestMoreModelsThanFit.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def _nothing(shard: str, models: Collection[ModelKey]) -> None:
    """Nobody goes on with anything."""


def placing(shards: int, budget: int = 10) -> Placing:
    """Shards that offer two versions of a model, of which they have the first."""
    made = Placing()
    for number in range(shards):
        name = f"s{number}"
        made.has(name, [A])
        made.offered(name, Offer(budget, {A: Offered(4, standing=CURRENT)}))
    for order in made.orders(0.0, frozenset(), lambda *_: True, _nothing):
        assert order.hold == (A,)
    return made


def loading(made: Placing, now: float) -> list[str]:
    """Shards that are told to load B as well."""
    orders = made.orders(now, frozenset(), lambda *_: True, _nothing)
    return [order.shard for order in orders if B in order.hold]


def test_a_new_version_is_loaded_by_one_shard_in_eight_at_a_time() -> None:
    made = placing(16)
    models = {A: Offered(4, standing=2), B: Offered(4, standing=CURRENT)}
    for number in range(16):
        made.offered(f"s{number}", Offer(10, models))
    now, rounds = 1.0, 0
    told: set[str] = set()
    while len(told) < 16:
        shards = loading(made, now)
        assert len(shards) == 2
        told.update(shards)
        assert not loading(made, now + 0.1)
        for shard in shards:
            made.has(shard, [A, B])
        now, rounds = now + 1.0, rounds + 1
    assert rounds == 8


def test_a_model_leaves_when_its_last_grant_is_finished() -> None:
    made = placing(1, budget=4)
    made.offered("s0", Offer(4, {A: Offered(4), B: Offered(4, standing=CURRENT)}))
    busy: set[tuple[str, ModelKey]] = {("s0", A)}

    def stop(shard: str, model: ModelKey) -> bool:
        return (shard, model) not in busy

    assert made.orders(1.0, frozenset(), stop, _nothing) == []
    assert made.due(1.001)  # looked at again with every message
    busy.clear()
    (order,) = made.orders(1.002, frozenset(), stop, _nothing)
    assert order.hold == (B,)
    assert made.leaves("s0", A)
    assert not made.due(1.003)


def test_what_a_refused_request_wanted_is_loaded_for_a_while() -> None:
    made = placing(1, budget=4)
    made.offered("s0", Offer(4, {A: Offered(4, standing=CURRENT), B: Offered(4)}))
    made.asked(B, 1, 1.0, served=False)
    (order,) = made.orders(1.0, frozenset(), lambda *_: True, _nothing)
    assert order.hold == (B,)
    made.has("s0", [B])
    made.asked(A, 1, 1.5, served=False)
    assert made.orders(1.5, frozenset(), lambda *_: True, _nothing) == []  # it has its turn
    made.asked(A, 1, 1.0 + ASKED_S, served=False)
    (order,) = made.orders(1.0 + ASKED_S, frozenset(), lambda *_: True, _nothing)
    assert order.hold == (A,)


def test_a_version_that_is_gone_stays_for_those_who_wait() -> None:
    made = placing(1)
    made.offered("s0", Offer(10))
    assert made.orders(1.0, frozenset({A}), lambda *_: True, _nothing) == []
    (order,) = made.orders(3.0, frozenset(), lambda *_: True, _nothing)
    assert order.hold == ()


def test_models_that_are_all_asked_for_take_turns() -> None:
    made = placing(1, budget=4)
    made.offered("s0", Offer(4, {A: Offered(4, standing=CURRENT), B: Offered(4)}))
    turns, holds = [], A
    for tenth in range(100):
        now = 1 + tenth / 10
        for model in (A, A, A, A, A, B):
            made.asked(model, 1, now, served=model == holds)
        for order in made.orders(now, frozenset({A, B}), lambda *_: True, _nothing):
            (holds,) = order.hold
            made.has("s0", order.hold)
            turns.append(holds)
    assert turns[:2] == [B, A]
    assert 5 <= len(turns) <= 10  # each stays for a while


def test_a_model_goes_on_when_somebody_asks_for_it_before_it_has_left() -> None:
    made = placing(1, budget=4)
    made.offered("s0", Offer(4, {A: Offered(4), B: Offered(4, standing=CURRENT)}))
    gone_on: list[tuple[str, Collection[ModelKey]]] = []

    def go_on(shard: str, models: Collection[ModelKey]) -> None:
        gone_on.append((shard, models))

    assert made.orders(1.0, frozenset(), lambda *_: False, go_on) == []
    assert not gone_on
    assert made.orders(1.0 + REPLAN_S, frozenset({A}), lambda *_: False, go_on) == []
    assert gone_on == [("s0", (A,))]
