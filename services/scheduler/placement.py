"""Which shards hold which models, where memory does not do for all of them. Pure.

A plan is made from the demand of the moment. Where everything fits, everything is held
everywhere. Where it does not:

 1. Each model, the most needed first, gets one shard: one that holds it already, or else the one
    where it displaces least.
 2. Each shard fills the room that is left with further copies of the models that have the most
    demand a copy; what it holds already counts BUCKET times, so that nothing moves without need.

What is in no shard's plan is unloaded, and loaded again when somebody asks for it.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.common.models.key import ModelKey

BUCKET: Final = 4.0
"""Demand counts in powers of it: a model makes room for another one that is asked for so many
times as much, and not for one that is asked for a little more."""
NO_CLAIM: Final = 3
"""Standing of a version that is held for those alone who ask for it."""


@dataclass(frozen=True, slots=True)
class Need:
    """One model as the plan sees it."""

    bytes: int
    """Memory of one copy."""
    demand: float = 0.0
    """How much was asked of it lately; see demand.py."""
    waiting: bool = False
    """Pieces wait for it: it is to be held somewhere, before those that nobody waits for."""
    starving: bool = False
    """They have waited for long, and no shard has it."""
    shielded: bool = False
    """It was loaded for somebody a moment ago and must not make room yet."""
    standing: int = NO_CLAIM
    """1: answers to the bare name, 2: has another claim, 3: none. Counts where demand is equal."""


@dataclass(frozen=True, slots=True)
class Room:
    """One shard as the plan sees it."""

    budget: int
    """Bytes for models."""
    held: frozenset[ModelKey] = frozenset()
    """What it has loaded, or was told to load."""
    offers: frozenset[ModelKey] = frozenset()
    """What it could hold: not what it refused."""


Plan = dict[str, tuple[ModelKey, ...]]
"""Shard → what it is to hold, the most needed first."""


def plan(needs: Mapping[ModelKey, Need], rooms: Mapping[str, Room]) -> Plan:
    """Return what each shard is to hold.

    No shard gets more than its budget, unless a single model that it holds has outgrown it.
    """
    held = frozenset().union(*(room.held for room in rooms.values())) if rooms else frozenset()
    order = sorted(
        (key for key, need in needs.items() if _is_wanted(need)),
        key=lambda key: _rank(key, needs[key], held=key in held),
    )
    everything = {shard: [k for k in order if k in room.offers] for shard, room in rooms.items()}
    if all(_size(needs, everything[shard]) <= room.budget for shard, room in rooms.items()):
        holds = everything
    else:
        draft = _Draft(needs, rooms)
        for key in order:
            draft.place(key)
        for shard in sorted(rooms, key=draft.free.__getitem__, reverse=True):
            draft.fill(shard, order)
        holds = draft.holds
    places = {key: position for position, key in enumerate(order)}
    return {shard: tuple(sorted(keys, key=places.__getitem__)) for shard, keys in holds.items()}


def fits_nowhere(key: ModelKey, need: Need, rooms: Iterable[Room]) -> bool:
    """Tell whether a model is larger than the whole budget of every shard that offers it."""
    return all(need.bytes > room.budget for room in rooms if key in room.offers)


class _Draft:
    """A plan in the making."""

    def __init__(self, needs: Mapping[ModelKey, Need], rooms: Mapping[str, Room]) -> None:
        self.holds: dict[str, list[ModelKey]] = {shard: [] for shard in rooms}
        self.free = {shard: room.budget for shard, room in rooms.items()}
        self._needs = needs
        self._rooms = rooms
        self._copies: Counter[ModelKey] = Counter()
        self._undecided = {
            shard: _size(needs, room.held & needs.keys()) for shard, room in rooms.items()
        }
        """Bytes of what a shard holds and has not been given yet."""

    def place(self, key: ModelKey) -> None:
        """Give a model its first shard, if one has room."""
        shard = max(
            (shard for shard in self._rooms if self._takes(shard, key)),
            key=lambda shard: (
                key in self._rooms[shard].held,
                self.free[shard] - self._undecided[shard],
                shard,
            ),
            default=None,
        )
        if shard is not None:
            self._give(shard, key)

    def fill(self, shard: str, order: Sequence[ModelKey]) -> None:
        """Give a shard copies of what has the most demand a copy, as far as there is room."""
        given = set(self.holds[shard])
        for key in sorted(order, key=lambda key: self._worth(shard, key), reverse=True):
            if key not in given and self._takes(shard, key):
                self._give(shard, key)

    def _worth(self, shard: str, key: ModelKey) -> tuple[float, float]:
        need, copies = self._needs[key], self._copies[key] + 1
        stays = BUCKET if key in self._rooms[shard].held else 1.0
        return stays * need.demand / copies, -need.standing * copies / stays

    def _takes(self, shard: str, key: ModelKey) -> bool:
        room = self._rooms[shard]
        if key not in room.offers:
            return False
        # What is loaded and alone in its shard stays, though it turned out larger than it seemed.
        stays = key in room.held and not self.holds[shard]
        return stays or self._needs[key].bytes <= self.free[shard]

    def _give(self, shard: str, key: ModelKey) -> None:
        self.holds[shard].append(key)
        self.free[shard] -= self._needs[key].bytes
        self._copies[key] += 1
        if key in self._rooms[shard].held:
            self._undecided[shard] -= self._needs[key].bytes


class _Rank(NamedTuple):
    """The lower, the more a model is needed."""

    unshielded: bool
    fed: bool
    idle: bool
    demand: float
    standing: int
    unheld: bool
    key: ModelKey


def _rank(key: ModelKey, need: Need, *, held: bool) -> _Rank:
    return _Rank(
        unshielded=not need.shielded,
        fed=not need.starving,
        idle=not need.waiting,
        demand=-math.floor(math.log(need.demand, BUCKET)) if need.demand > 0 else math.inf,
        standing=need.standing,
        unheld=not held,
        key=key,
    )


def _is_wanted(need: Need) -> bool:
    """What nobody asks for by any name only takes memory."""
    return need.waiting or need.shielded or need.demand > 0 or need.standing < NO_CLAIM


def _size(needs: Mapping[ModelKey, Need], keys: Iterable[ModelKey]) -> int:
    return sum(needs[key].bytes for key in keys)
