"""The scheduler's core: one queue of pieces, and who was leased what.

Pure: time and messages come in as arguments, grants go out as values, so that a test or a
simulation drives the same class as production.

Shards pull, the scheduler leases. A shard with room for a batch leaves a credit here. While a
piece waits and a shard that serves its model has a credit, the shard with the fewest
outstanding images gets a grant: its fair share of what waits for that model, at least
MIN_GRANT_IMAGES, at most its maximum batch. The queue is first come, first served by model;
the model whose first piece has waited longest is served first.

A lease ends when the piece is answered, lost, cancelled or past its caller's deadline, when its
shard leaves, or when it expires (a shard that hangs answers nobody). Except after an answer, a
cancellation or the deadline, the piece goes back to the front of the queue.
"""

import itertools
import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.common.models.key import ModelKey

MIN_GRANT_IMAGES: Final = 8
LEASE_S: Final = 10.0


class PieceKey(NamedTuple):
    """A piece, by the dispatcher that holds its tensor and that dispatcher's number for it."""

    dispatcher: str
    piece_id: int


@dataclass(slots=True)
class Piece:
    """Images of one request that stay together."""

    key: PieceKey
    model: ModelKey
    images: int
    deadline: float
    """Seconds on the caller's clock; not granted after that."""
    grant_id: str | None = None
    """The grant that it was leased in; None while it waits."""
    avoid: set[str] = field(default_factory=set)
    """Shards that could not be reached for this piece."""
    arrival: int = 0
    """Its place in the order of arrival; kept when it goes back to the queue."""


@dataclass(frozen=True, slots=True)
class Grant:
    """Pieces that one shard is to run as one batch."""

    grant_id: str
    shard: str
    model: ModelKey
    pieces: tuple[PieceKey, ...]
    images: int
    expires: float
    """Seconds on the caller's clock."""


@dataclass(slots=True)
class _Shard:
    max_batch: Mapping[ModelKey, int]
    credits: int = 0
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def outstanding_images(self) -> int:
        return sum(grant.images for grant in self.grants.values())


class LeaseBook:
    """All pieces that are queued or leased, and all shards. Not thread-safe."""

    def __init__(self, epoch: str, lease_s: float = LEASE_S) -> None:
        """`epoch` tells this book's grants from those of every other scheduler's."""
        self._epoch = epoch
        self._lease_s = lease_s
        self._grant_ids = itertools.count(1)
        self._arrivals = itertools.count(1)
        self._pieces: dict[PieceKey, Piece] = {}
        self._queues: dict[ModelKey, OrderedDict[PieceKey, Piece]] = {}
        self._shards: dict[str, _Shard] = {}
        self._grants: dict[str, Grant] = {}

    # What shards say.

    def shard_joined(self, shard: str) -> None:
        """A shard opened its stream; a former stream of the same id counts as ended."""
        self.shard_left(shard)
        self._shards[shard] = _Shard({})

    def shard_serves(self, shard: str, max_batch: Mapping[ModelKey, int]) -> None:
        """The shard can run these versions, in batches up to these numbers of images."""
        self._shards[shard].max_batch = dict(max_batch)

    def shard_pulled(self, shard: str) -> None:
        """The shard has room for one more grant."""
        self._shards[shard].credits += 1

    def shard_drains(self, shard: str) -> None:
        """The shard wants no more grants; it finishes those that it has."""
        self._shards[shard].max_batch = {}
        self._shards[shard].credits = 0

    def grant_finished(self, shard: str, grant_id: str) -> None:
        """The shard is done with a grant; its dispatchers tell what became of the pieces."""
        if shard in self._shards:
            self._shards[shard].grants.pop(grant_id, None)

    def shard_left(self, shard: str) -> None:
        """The shard's stream ended: what it was leased goes back to the queue."""
        gone = self._shards.pop(shard, None)
        for grant in gone.grants.values() if gone else ():
            self._take_back(grant, unreachable=True)

    # What dispatchers say.

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """Put new pieces at the end of the queue. A key that is known already is left alone."""
        for piece in pieces:
            if piece.key not in self._pieces:
                piece.arrival = next(self._arrivals)
                self._pieces[piece.key] = piece
                self._queue(piece.model)[piece.key] = piece

    def piece_ended(self, key: PieceKey) -> None:
        """The piece was answered, or nobody waits for it any more."""
        piece = self._pieces.pop(key, None)
        if piece is not None and piece.grant_id is None:
            self._unqueue(piece)
        elif piece is not None:
            self._forget_if_settled(piece.grant_id)

    def piece_lost(self, key: PieceKey, grant_id: str, *, unreachable: bool) -> None:
        """That lease of the piece came to nothing; ignored when it was leased again since."""
        piece = self._pieces.get(key)
        grant = self._grants.get(grant_id)
        if piece is None or grant is None or piece.grant_id != grant_id:
            return
        if unreachable:
            piece.avoid.add(grant.shard)
        self._requeue(piece)
        self._forget_if_settled(grant_id)

    def dispatcher_left(self, dispatcher: str) -> None:
        """The dispatcher's stream ended: its pieces are forgotten."""
        for key in [key for key in self._pieces if key.dispatcher == dispatcher]:
            self.piece_ended(key)

    # What follows.

    def assign(self, now: float) -> list[Grant]:
        """Return the grants that credits and waiting pieces allow, leased from now on."""
        grants = []
        while (grant := self._next_grant(now)) is not None:
            grants.append(grant)
        return grants

    def expire(self, now: float) -> list[PieceKey]:
        """Take back overdue leases; return the pieces dropped because their deadline passed."""
        for grant in [grant for grant in self._grants.values() if grant.expires <= now]:
            if grant.shard in self._shards:
                self._shards[grant.shard].grants.pop(grant.grant_id, None)
            self._take_back(grant, unreachable=True)
        dropped = [piece.key for piece in self._pieces.values() if piece.deadline <= now]
        for key in dropped:
            self.piece_ended(key)
        return dropped

    @property
    def queued_images(self) -> int:
        """Images that wait for a lease."""
        return sum(piece.images for queue in self._queues.values() for piece in queue.values())

    def outstanding_images(self, shard: str) -> int:
        """Images in grants that the shard has not finished."""
        return self._shards[shard].outstanding_images

    @property
    def empty(self) -> bool:
        """Nothing is queued or leased, and nothing is remembered of what was."""
        return not (self._pieces or self._queues or self._grants)

    def _next_grant(self, now: float) -> Grant | None:
        for model in self._models_by_age():
            queue = self._queues[model]
            candidates = self._candidates(model, next(iter(queue.values())))
            if not candidates:
                continue
            shard = min(candidates, key=lambda name: (self._shards[name].outstanding_images, name))
            share = math.ceil(sum(piece.images for piece in queue.values()) / len(candidates))
            limit = self._shards[shard].max_batch[model]
            pieces = list(_take(queue, min(limit, max(share, MIN_GRANT_IMAGES)), shard))
            return self._lease(shard, model, pieces, now)
        return None

    def _models_by_age(self) -> list[ModelKey]:
        """Models with waiting pieces, the one whose first piece came first at the front."""
        return sorted(
            self._queues, key=lambda model: next(iter(self._queues[model].values())).arrival
        )

    def _candidates(self, model: ModelKey, first: Piece) -> list[str]:
        """Shards with a credit that serve the model; those to avoid only when no other serves it.

        A shard that could not be reached once is better than none, and better than waiting for
        ever: it may be back.
        """
        serving = [name for name, shard in self._shards.items() if model in shard.max_batch]
        wanted = [name for name in serving if name not in first.avoid] or serving
        return [name for name in wanted if self._shards[name].credits > 0]

    def _lease(self, shard: str, model: ModelKey, pieces: list[Piece], now: float) -> Grant:
        grant = Grant(
            grant_id=f"{self._epoch}-{next(self._grant_ids)}",
            shard=shard,
            model=model,
            pieces=tuple(piece.key for piece in pieces),
            images=sum(piece.images for piece in pieces),
            expires=now + self._lease_s,
        )
        for piece in pieces:
            piece.grant_id = grant.grant_id
            self._unqueue(piece)
        self._grants[grant.grant_id] = grant
        self._shards[shard].grants[grant.grant_id] = grant
        self._shards[shard].credits -= 1
        return grant

    def _take_back(self, grant: Grant, *, unreachable: bool) -> None:
        self._grants.pop(grant.grant_id, None)
        for key in reversed(grant.pieces):
            piece = self._pieces.get(key)
            if piece is not None and piece.grant_id == grant.grant_id:
                if unreachable:
                    piece.avoid.add(grant.shard)
                self._requeue(piece)

    def _requeue(self, piece: Piece) -> None:
        """Back to the front: it has waited already."""
        piece.grant_id = None
        queue = self._queue(piece.model)
        queue[piece.key] = piece
        queue.move_to_end(piece.key, last=False)

    def _forget_if_settled(self, grant_id: str | None) -> None:
        """Drop a grant of which no piece is under lease any more."""
        grant = self._grants.get(grant_id or "")
        if grant is not None and not any(
            piece.grant_id == grant_id
            for key in grant.pieces
            if (piece := self._pieces.get(key)) is not None
        ):
            del self._grants[grant.grant_id]

    def _queue(self, model: ModelKey) -> OrderedDict[PieceKey, Piece]:
        return self._queues.setdefault(model, OrderedDict())

    def _unqueue(self, piece: Piece) -> None:
        queue = self._queues[piece.model]
        del queue[piece.key]
        if not queue:
            del self._queues[piece.model]


def _take(queue: Mapping[PieceKey, Piece], limit: int, shard: str) -> Iterator[Piece]:
    """Pieces from the front that fit into `limit` images together; the first one always.

    Stops at a piece that has to avoid the shard unless it is the first.
    """
    taken = 0
    for piece in queue.values():
        if taken and (taken + piece.images > limit or shard in piece.avoid):
            return
        taken += piece.images
        yield piece
