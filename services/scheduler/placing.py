"""Tells shards which models to hold: when a new plan is due, and in which order it is carried out.

A model that is to leave a shard gets no more grants there at once, and is unloaded when the last
one in hand is finished. A model that nobody waits for is loaded by one shard in STAGGER at a
time, so that a new version never slows all of them down together. Where more models are asked
for than fit, they take turns: one that waited for long is loaded, and stays for a while.
"""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from services.common.models.key import ModelKey
from services.scheduler.demand import Demand
from services.scheduler.placement import NO_CLAIM, Need, Plan, Room, fits_nowhere, plan

REPLAN_S: Final = 1.0
"""How often demand is looked at."""
SOONEST_S: Final = 0.02
"""What shards say changes the plan no sooner than that after the last one."""
TURN_S: Final = 1.0
TURN_LOADS: Final = 2.0
"""A model that was loaded for somebody stays for so many times as long as its loading took, and
TURN_S at least; after that time without a shard it takes the place of one that had its turn."""
ASKED_S: Final = 10.0
"""A model that a refused request wanted is loaded all the same: it may be asked for again."""
STAGGER: Final = 8
CURRENT: Final = 1


class Offered(NamedTuple):
    """One version that a shard could hold."""

    bytes: int
    load_s: float = 0.0
    """0: not known."""
    standing: int = NO_CLAIM
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """What a shard could hold."""

    budget: int
    models: Mapping[ModelKey, Offered] = field(default_factory=dict)


class Order(NamedTuple):
    """What a shard is to hold from now on: it unloads all else, then loads what is missing."""

    shard: str
    hold: tuple[ModelKey, ...]


@dataclass(slots=True, eq=False)
class _Shelf:
    offer: Offer
    loaded: frozenset[ModelKey]
    told: tuple[ModelKey, ...] | None = None
    """The last order; None: it was told nothing yet and loads what it likes."""

    @property
    def held(self) -> frozenset[ModelKey]:
        """What it has, or is loading."""
        return self.loaded if self.told is None else frozenset(self.told)

    @property
    def loading(self) -> frozenset[ModelKey]:
        """What it was told to load, and neither has nor refused."""
        return frozenset(
            model
            for model in self.held - self.loaded
            if (offered := self.offer.models.get(model)) is not None and not offered.refused
        )

    def room(self, kept: AbstractSet[ModelKey]) -> Room:
        """`kept`: models that may stay though the shard does not offer them any more."""
        offers = {model for model, offered in self.offer.models.items() if not offered.refused}
        offers |= self.loaded & kept
        return Room(self.offer.budget, self.held, frozenset(offers))


class Placing:
    """What shards have and could have, and what they were told. Not thread-safe."""

    def __init__(self) -> None:
        self._shelves: dict[str, _Shelf] = {}
        self._loaded: dict[str, frozenset[ModelKey]] = {}
        self._demand = Demand()
        self._asked: dict[ModelKey, float] = {}
        """Models without a shard that were asked for → when last."""
        self._cold_since: dict[ModelKey, float] = {}
        """Models without a shard that somebody waits for → since when."""
        self._came: set[ModelKey] = set()
        """Models of `_cold_since` that a shard has loaded since the last plan."""
        self._turn_ends: dict[ModelKey, float] = {}
        """Models that were loaded for somebody → until when they stay."""
        self._plan: Plan = {}
        self._planned_at = -math.inf
        self._replan_at = math.inf
        self._stopping: set[str] = set()
        """Shards that are to unload something, and have grants for it in hand."""

    # What shards say.

    def offered(self, shard: str, offer: Offer) -> None:
        """Take in what a shard could hold."""
        if (shelf := self._shelves.get(shard)) is None:
            self._shelves[shard] = _Shelf(offer, self._loaded.get(shard, frozenset()))
        else:
            shelf.offer = offer
        self._replan_soon()

    def has(self, shard: str, loaded: Iterable[ModelKey]) -> None:
        """Take in what a shard has loaded."""
        self._loaded[shard] = frozenset(loaded)
        if (shelf := self._shelves.get(shard)) is not None:
            self._came |= (self._loaded[shard] - shelf.loaded) & self._cold_since.keys()
            shelf.loaded = self._loaded[shard]
            self._replan_soon()

    def left(self, shard: str) -> None:
        """The shard is gone; harmless when unknown."""
        self._loaded.pop(shard, None)
        self._stopping.discard(shard)
        if self._shelves.pop(shard, None) is not None:
            self._replan_soon()

    # What dispatchers want.

    def asked(self, model: ModelKey, images: int, now: float, *, served: bool) -> None:
        """Count a request; `served`: a shard has the model."""
        self._demand.asked(model, images, now)
        if not served and self._shelves:
            if model not in self._asked:
                self._replan_at = now
            self._asked[model] = now

    def load_s(self, model: ModelKey) -> float:
        """Return how long it took to load a model where that was slowest; 0: nobody knows."""
        return max((offered.load_s for offered in self._offers(model)), default=0.0)

    def too_large(self, model: ModelKey) -> bool:
        """Tell whether shards offer a model, and none of them has the memory for it."""
        rooms = [shelf.room(frozenset()) for shelf in self._shelves.values()]
        offering = [room for room in rooms if model in room.offers]
        return bool(offering) and fits_nowhere(model, self._need(model, 0.0, ()), offering)

    # What follows.

    def due(self, now: float) -> bool:
        """Tell whether `orders` may have something to say."""
        return now >= self._replan_at or bool(self._stopping)

    def leaves(self, shard: str, model: ModelKey) -> bool:
        """Tell whether a shard is to unload a model, or to leave it alone."""
        shelf = self._shelves.get(shard)
        return shelf is not None and shelf.told is not None and model not in shelf.told

    def orders(
        self,
        now: float,
        waiting: AbstractSet[ModelKey],
        stop: Callable[[str, ModelKey], bool],
        go_on: Callable[[str, Collection[ModelKey]], None],
    ) -> list[Order]:
        """Return the orders that can be given now.

        `waiting` are models with pieces that wait. `stop(shard, model)` sees to it that the shard
        gets no more grants for the model, and tells whether it has none in hand; `go_on(shard,
        models)` that it gets them again, where the plan has changed before that was so.
        """
        if now >= self._replan_at:
            self._plan = self._new_plan(now, waiting)
            self._planned_at, self._replan_at = now, now + REPLAN_S
            shards = list(self._shelves)
        else:
            shards = list(self._stopping)
        orders = []
        for shard in shards:
            shelf = self._shelves[shard]
            hold = self._next_hold(shard, shelf, waiting)
            if shard in self._stopping:
                self._stopping.discard(shard)
                go_on(shard, hold)
            if shelf.told is not None and set(hold) == set(shelf.told):
                continue
            leaving = [model for model in shelf.loaded if model not in hold]
            if [model for model in leaving if not stop(shard, model)]:
                self._stopping.add(shard)
            else:
                shelf.told = hold
                orders.append(Order(shard, hold))
        return orders

    def _replan_soon(self) -> None:
        self._replan_at = min(self._replan_at, self._planned_at + SOONEST_S)

    def _next_hold(
        self, shard: str, shelf: _Shelf, waiting: AbstractSet[ModelKey]
    ) -> tuple[ModelKey, ...]:
        """Return what a shard is to hold next on its way to the plan."""
        goal = self._plan.get(shard, ())
        new = [model for model in goal if model not in shelf.held]
        later = {model for model in new if not self._may_load(model, waiting)}
        if new and len(later) == len(new):  # what makes room for them stays until then
            stays = shelf.held & shelf.offer.models.keys()
            goal = (*goal, *sorted(stays.difference(goal)))
        return tuple(model for model in goal if model not in later)

    def _may_load(self, model: ModelKey, waiting: AbstractSet[ModelKey]) -> bool:
        if model in waiting or model in self._asked:
            return True
        loading = sum(model in shelf.loading for shelf in self._shelves.values())
        return loading < max(1, len(self._shelves) // STAGGER)

    def _new_plan(self, now: float, waiting: AbstractSet[ModelKey]) -> Plan:
        shelves = self._shelves.values()
        loaded = frozenset().union(*(shelf.loaded for shelf in shelves))
        self._turn_ends = {model: end for model, end in self._turn_ends.items() if end > now}
        self._turn_ends.update((model, now + self._turn_s(model)) for model in self._came)
        self._came.clear()
        self._asked = {
            model: at
            for model, at in self._asked.items()
            if now - at < ASKED_S and model not in loaded
        }
        wanted = waiting | self._asked.keys()
        self._cold_since = {model: self._cold_since.get(model, now) for model in wanted - loaded}
        kept = loaded & wanted
        offered = {model for shelf in shelves for model in shelf.offer.models}
        needs = {model: self._need(model, now, wanted) for model in offered | kept}
        _follow_names(needs)
        return plan(needs, {shard: shelf.room(kept) for shard, shelf in self._shelves.items()})

    def _need(self, model: ModelKey, now: float, wanted: Collection[ModelKey]) -> Need:
        offers = self._offers(model)
        cold_since = self._cold_since.get(model, now)
        loading = any(model in shelf.loading for shelf in self._shelves.values())
        return Need(
            bytes=max((offered.bytes for offered in offers), default=0),
            demand=self._demand.of(model, now),
            waiting=model in wanted,
            starving=now - cold_since > self._turn_s(model),
            shielded=model in self._turn_ends or (loading and model in wanted),
            standing=min((offered.standing for offered in offers), default=NO_CLAIM),
        )

    def _turn_s(self, model: ModelKey) -> float:
        return max(TURN_S, TURN_LOADS * self.load_s(model))

    def _offers(self, model: ModelKey) -> list[Offered]:
        offers = (shelf.offer.models.get(model) for shelf in self._shelves.values())
        return [offered for offered in offers if offered is not None]


def _follow_names(needs: dict[ModelKey, Need]) -> None:
    """Let the version that a name leads to have the demand of the one that it led to before."""
    demand: dict[str, float] = {}
    for model, need in needs.items():
        demand[model.name] = max(demand.get(model.name, 0.0), need.demand)
    for model, need in needs.items():
        if need.standing == CURRENT and need.demand < demand[model.name]:
            needs[model] = replace(need, demand=demand[model.name])
