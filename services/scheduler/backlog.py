"""All pieces that are not answered: each waits in a queue, or is leased."""

import itertools

from services.common.models.key import ModelKey
from services.scheduler.descriptors import Piece, PieceKey
from services.scheduler.fairness import FairQueue
from services.scheduler.leases import Leases


class Backlog:
    """Pieces by model and tenant, and their leases. Not thread-safe."""

    def __init__(self) -> None:
        self.queues: dict[ModelKey, FairQueue] = {}
        """Those in which something waits."""
        self.leases = Leases()
        self._arrivals = itertools.count(1)

    @property
    def images(self) -> int:
        """Images that wait for a lease."""
        return sum(queue.images for queue in self.queues.values())

    @property
    def empty(self) -> bool:
        """Nothing is known of any piece."""
        return not self.queues and self.leases.empty

    def piece(self, key: PieceKey) -> Piece | None:
        """Return a piece that is queued or leased."""
        return self.leases.pieces.get(key)

    def pieces(self) -> list[Piece]:
        """Return all that are queued or leased."""
        return list(self.leases.pieces.values())

    def add(self, piece: Piece) -> bool:
        """Take a new piece in; return whether it was: one that is known is left alone."""
        if piece.key in self.leases.pieces:
            return False
        piece.arrival = next(self._arrivals)
        self.leases.pieces[piece.key] = piece
        self._queue(piece)
        return True

    def end(self, key: PieceKey, reason: str | None) -> None:
        """Forget a piece, if it is known; see `Leases.end`."""
        piece = self.piece(key)
        if piece is None:
            return
        if piece.queued:
            queue = self.queues[piece.model]
            queue.discard(piece)
            if not queue:
                del self.queues[piece.model]
        self.leases.end(piece, reason)

    def lose(self, key: PieceKey, grant_id: str, *, unreachable: bool) -> None:
        """That lease of the piece came to nothing; ignored unless it is open."""
        piece = self.piece(key)
        if piece is None or grant_id not in piece.grants:
            return
        if unreachable and (lease := self.leases.get(grant_id)) is not None:
            piece.avoid |= {lease.grant.shard}
        if self.leases.lose(piece, grant_id):
            self._queue(piece)

    def take_back(self, grant_id: str) -> None:
        """A grant came to nothing: its pieces wait again, but for those leased twice."""
        for piece in self.leases.take_back(grant_id):
            self._queue(piece)

    def _queue(self, piece: Piece) -> None:
        queue = self.queues.get(piece.model)
        if queue is None:
            queue = self.queues[piece.model] = FairQueue()
        queue.put(piece)
