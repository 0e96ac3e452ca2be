"""What waits for a shard: pieces, and the queue of those for one model."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.common.models.key import ModelKey


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
    """Seconds on the caller's clock; not granted from then on."""
    grant_id: str | None = None
    """The grant that it was leased in; None while it waits."""
    avoid: set[str] = field(default_factory=set)
    """Shards that could not be reached for this piece."""
    arrival: int = 0
    """Its place in the order of arrival; kept when it goes back to the queue."""


class PieceQueue:
    """Pieces in the order of their arrival, whenever they were put in."""

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.images = 0
        """Images of all pieces."""

    def __iter__(self) -> Iterator[Piece]:
        return iter(self._pieces)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    @property
    def oldest(self) -> Piece:
        """The piece that came first; there must be one."""
        return self._pieces[0]

    def put(self, piece: Piece) -> None:
        """Put a piece into its place."""
        insort(self._pieces, piece, key=_arrival)
        self.images += piece.images

    def remove(self, pieces: Iterable[Piece]) -> None:
        """Take out pieces that are in the queue."""
        for piece in pieces:
            del self._pieces[bisect_left(self._pieces, piece.arrival, key=_arrival)]
            self.images -= piece.images


def _arrival(piece: Piece) -> int:
    return piece.arrival
