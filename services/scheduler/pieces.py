"""How a piece is named."""

from typing import NamedTuple


class PieceKey(NamedTuple):
    """A piece, by the dispatcher that holds its tensor and that dispatcher's number for it."""

    dispatcher: str
    piece_id: int
