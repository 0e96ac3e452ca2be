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
cancellation or the deadline, the piece goes back to its place in the queue, and avoids that
shard as long as another one that serves its model is at work.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.common.models.key import ModelKey
from services.scheduler.pieces import Piece, PieceKey, PieceQueue

MIN_GRANT_IMAGES: Final = 8
LEASE_S: Final = 10.0


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
    max_batch: Mapping[ModelKey, int] = field(default_factory=dict)
    credits: int = 0
    grants: dict[str, Grant] = field(default_factory=dict)

    @property
    def outstanding_images(self) -> int:
        return sum(grant.images for grant in self.grants.values())

    @property
    def at_work(self) -> bool:
        """It asked for work or has some; one that hangs lets its leases expire."""
        return self.credits > 0 or bool(self.grants)


@dataclass(slots=True)
class _Lease:
    grant: Grant
    open: set[PieceKey]
    """Pieces of the grant of which nobody knows yet what became."""


class LeaseBook:
    """All pieces that are queued or leased, and all shards. Not thread-safe."""

    def __init__(self, epoch: str, lease_s: float = LEASE_S) -> None:
        """`epoch` tells this book's grants from those of every other scheduler's."""
        self._epoch = epoch
        self._lease_s = lease_s
        self._grant_ids = itertools.count(1)
        self._arrivals = itertools.count(1)
        self._pieces: dict[PieceKey, Piece] = {}
        self._queues: dict[ModelKey, PieceQueue] = {}
        self._shards: dict[str, _Shard] = {}
        self._leases: dict[str, _Lease] = {}

    # What shards say.

    def shard_joined(self, shard: str) -> None:
        """A shard opened its stream; a former stream of the same id counts as ended."""
        self.shard_left(shard)
        self._shards[shard] = _Shard()

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
        for grant_id in gone.grants if gone else ():
            self._take_back(grant_id)

    # What dispatchers say.

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """Put new pieces at the end of the queue. A key that is known already is left alone."""
        for piece in pieces:
            if piece.key not in self._pieces:
                piece.arrival = next(self._arrivals)
                self._pieces[piece.key] = piece
                self._queue(piece)

    def piece_ended(self, key: PieceKey) -> None:
        """The piece was answered, or nobody waits for it any more."""
        piece = self._pieces.pop(key, None)
        if piece is not None and piece.grant_id is None:
            self._unqueue(piece.model, [piece])
        elif piece is not None:
            self._settle(piece)

    def piece_lost(self, key: PieceKey, grant_id: str, *, unreachable: bool) -> None:
        """That lease of the piece came to nothing; ignored when it was leased again since."""
        piece = self._pieces.get(key)
        if piece is None or piece.grant_id != grant_id:
            return
        if unreachable:
            piece.avoid.add(self._leases[grant_id].grant.shard)
        self._settle(piece)
        self._queue(piece)

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
        for shard in self._shards.values():
            for grant in [grant for grant in shard.grants.values() if grant.expires <= now]:
                del shard.grants[grant.grant_id]
        for lease in [lease for lease in self._leases.values() if lease.grant.expires <= now]:
            self._take_back(lease.grant.grant_id)
        dropped = [piece.key for piece in self._pieces.values() if piece.deadline <= now]
        for key in dropped:
            self.piece_ended(key)
        return dropped

    @property
    def queued_images(self) -> int:
        """Images that wait for a lease."""
        return sum(queue.images for queue in self._queues.values())

    def outstanding_images(self, shard: str) -> int:
        """Images in grants that the shard has not finished."""
        return self._shards[shard].outstanding_images

    @property
    def empty(self) -> bool:
        """Nothing is queued or leased, and nothing is remembered of what was."""
        return not (self._pieces or self._queues or self._leases)

    def _next_grant(self, now: float) -> Grant | None:
        for model in sorted(self._queues, key=lambda model: self._queues[model].oldest.arrival):
            serving = [name for name, shard in self._shards.items() if model in shard.max_batch]
            ready = [name for name in serving if self._shards[name].credits > 0]
            ready.sort(key=lambda name: (self._shards[name].outstanding_images, name))
            for name in ready:
                share = math.ceil(self._queues[model].images / len(ready))
                limit = min(self._shards[name].max_batch[model], max(share, MIN_GRANT_IMAGES))
                pieces = self._choose(model, name, serving, limit, now)
                if pieces:
                    return self._lease(name, model, pieces, now)
        return None

    def _choose(
        self, model: ModelKey, shard: str, serving: list[str], limit: int, now: float
    ) -> list[Piece]:
        """Pieces for a shard, oldest first, up to `limit` images together; the first one always."""
        chosen: list[Piece] = []
        images = 0
        for piece in self._queues[model]:
            if piece.deadline <= now or self._waits_for_another(piece, shard, serving):
                continue
            if chosen and images + piece.images > limit:
                break
            chosen.append(piece)
            images += piece.images
        return chosen

    def _waits_for_another(self, piece: Piece, shard: str, serving: list[str]) -> bool:
        """The piece avoids the shard, and one of the others is likely to take it soon.

        Otherwise a shard that could not be reached once is better than waiting for ever: it may
        be back.
        """
        return shard in piece.avoid and any(
            name not in piece.avoid and self._shards[name].at_work for name in serving
        )

    def _lease(self, shard: str, model: ModelKey, pieces: list[Piece], now: float) -> Grant:
        grant = Grant(
            grant_id=f"{self._epoch}-{next(self._grant_ids)}",
            shard=shard,
            model=model,
            pieces=tuple(piece.key for piece in pieces),
            images=sum(piece.images for piece in pieces),
            expires=now + self._lease_s,
        )
        self._unqueue(model, pieces)
        for piece in pieces:
            piece.grant_id = grant.grant_id
        self._leases[grant.grant_id] = _Lease(grant, set(grant.pieces))
        self._shards[shard].grants[grant.grant_id] = grant
        self._shards[shard].credits -= 1
        return grant

    def _take_back(self, grant_id: str) -> None:
        lease = self._leases.pop(grant_id, None)
        if lease is None:
            return
        for key in lease.open:
            piece = self._pieces[key]
            piece.avoid.add(lease.grant.shard)
            self._queue(piece)

    def _settle(self, piece: Piece) -> None:
        """End the lease of one piece, and with the last one that of the grant."""
        assert piece.grant_id is not None
        lease = self._leases[piece.grant_id]
        lease.open.discard(piece.key)
        if not lease.open:
            del self._leases[piece.grant_id]

    def _queue(self, piece: Piece) -> None:
        piece.grant_id = None
        self._queues.setdefault(piece.model, PieceQueue()).put(piece)

    def _unqueue(self, model: ModelKey, pieces: list[Piece]) -> None:
        self._queues[model].remove(pieces)
        if not self._queues[model]:
            del self._queues[model]
