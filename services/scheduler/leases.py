"""Who holds which piece: pieces, the leases on them, and what was run for nothing.

A piece is queued, or leased once, or (hedged) leased twice. A lease ends for a piece when it is
answered, cancelled or lost, and for the whole grant when its shard leaves or it expires. A piece
whose last lease ended without an answer is to be queued again.
"""

import heapq
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from services.scheduler.descriptors import Grant, Piece, PieceKey


@dataclass(slots=True, eq=False)
class Lease:
    """One grant, as long as something of it is open."""

    grant: Grant
    open: dict[PieceKey, Piece]
    """Pieces of which nobody knows yet what became on this lease."""


class Leases:
    """All known pieces and all open leases. Not thread-safe."""

    def __init__(self) -> None:
        self.pieces: dict[PieceKey, Piece] = {}
        self.wasted: Counter[str] = Counter()
        """Images that were leased and whose result nobody takes, by reason."""
        self._leases: dict[str, Lease] = {}
        self._overdue: dict[str, Lease] = {}
        """Open, overdue and not hedged."""
        self._timely: list[tuple[float, str]] = []
        """Heap of when each other one becomes overdue; some ended meanwhile."""

    @property
    def empty(self) -> bool:
        """Nothing is known of any piece."""
        return not (self.pieces or self._leases)

    def grant(self, grant: Grant, pieces: Iterable[Piece], overdue_at: float) -> None:
        """Lease pieces to a shard; from `overdue_at` on the lease may be hedged."""
        self._leases[grant.grant_id] = Lease(grant, {p.key: p for p in pieces})
        if self._timely and self._timely[0][1] not in self._leases:
            self._forget_ended()
        heapq.heappush(self._timely, (overdue_at, grant.grant_id))
        for piece in pieces:
            piece.grants += (grant.grant_id,)

    def get(self, grant_id: str) -> Lease | None:
        """An open lease."""
        return self._leases.get(grant_id)

    def overdue(self, now: float) -> list[Lease]:
        """Leases that their shard should have answered long ago, not yet hedged."""
        while self._timely and self._timely[0][0] <= now:
            grant_id = heapq.heappop(self._timely)[1]
            if (lease := self._leases.get(grant_id)) is not None:
                self._overdue[grant_id] = lease
        return list(self._overdue.values())

    def hedged(self, lease: Lease) -> None:
        """An overdue lease was leased a second time: it is not again."""
        del self._overdue[lease.grant.grant_id]

    @property
    def next_overdue(self) -> float | None:
        """When the next lease becomes overdue that `overdue` did not name; None: none does."""
        self._forget_ended()
        return self._timely[0][0] if self._timely else None

    def expired(self, now: float) -> list[Lease]:
        """Leases that no answer is waited for any longer."""
        return [lease for lease in self._leases.values() if lease.grant.expires <= now]

    def end(self, piece: Piece, reason: str | None) -> None:
        """Forget a piece; its images on shards are wasted for that reason, if there is one.

        Without a reason it was answered: by one of its leases, so only a second one was wasted.
        """
        del self.pieces[piece.key]
        wasted = len(piece.grants) if reason else len(piece.grants) - 1
        if wasted > 0:
            self.wasted[reason or "hedged"] += wasted * piece.images
        for grant_id in piece.grants:
            self._close(grant_id, piece.key)
        piece.grants = ()

    def lose(self, piece: Piece, grant_id: str) -> bool:
        """End one lease of a piece; return whether it was the last one."""
        self.wasted["lost"] += piece.images
        piece.grants = tuple(held for held in piece.grants if held != grant_id)
        self._close(grant_id, piece.key)
        return not piece.grants

    def take_back(self, grant_id: str) -> list[Piece]:
        """End a lease; return the pieces that no other lease holds."""
        lease = self._leases.get(grant_id)
        if lease is None:
            return []
        orphans = []
        for piece in list(lease.open.values()):
            piece.avoid |= {lease.grant.shard}
            if self.lose(piece, grant_id):
                orphans.append(piece)
        return orphans

    def _close(self, grant_id: str, key: PieceKey) -> None:
        lease = self._leases[grant_id]
        del lease.open[key]
        if not lease.open:
            del self._leases[grant_id]
            self._overdue.pop(grant_id, None)

    def _forget_ended(self) -> None:
        timely, leases = self._timely, self._leases
        while timely and timely[0][1] not in leases:
            heapq.heappop(timely)
