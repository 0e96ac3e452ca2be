"""What is told of the requests whose pieces are admitted, refused, leased and lost."""

from collections.abc import Iterable

import structlog

from facet.type.v1 import request_pb2
from services.common.tracing.context import of_requests
from services.common.tracing.sparing import SparingLog
from services.common.tracing.trail import Hop, Trail
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, Piece, PieceKey, Refusal
from services.scheduler.expected import Expected

log = structlog.get_logger(__name__)


class Account:
    """Tells what is decided, request by request. Moments are those of time.monotonic."""

    def __init__(self, core: Scheduler, trail: Trail) -> None:
        self._core = core
        self._trail = trail
        self._refusals = SparingLog(log)

    def admitted(self, expected: Expected, now: float) -> None:
        """A request that waited for it was admitted."""
        if self._trail.active and expected.context is not None:
            fields: dict[str, str | int] = {"model": str(expected.model), "images": expected.images}
            self._trail.hop("admitted", Hop(expected.context, now, now, fields))

    def refused(self, refusal: Refusal, context: request_pb2.RequestContext | None) -> None:
        """A request was refused."""
        self._refusals.warning(
            "request refused",
            refusal.why.name,
            predicted_ms=int(refusal.predicted_s * 1000),
            allowed_ms=int(refusal.allowed_s * 1000),
            **of_requests([context] if context else []),
        )

    def granted(self, grant: Grant, now: float) -> None:
        """Pieces were leased, and their waiting is over."""
        if not self._trail.active:
            return
        for key in grant.pieces:
            piece = self._core.piece(key)
            if piece is None or piece.context is None:
                continue
            if self._trail.wants(piece.context):
                fields: dict[str, str | int] = {
                    "grant": grant.grant_id,
                    "shard": grant.shard,
                    "images": piece.images,
                    "hedge": int(grant.hedge),
                }
                self._trail.hop("leased", Hop(piece.context, piece.since, now, fields))

    def lost(self, key: PieceKey, grant_id: str) -> None:
        """A lease of a piece came to nothing; it is leased again."""
        if self._trail.active and (piece := self._core.piece(key)) is not None:
            log.debug("lease lost", grant=grant_id, **_whose([piece]))

    def dropped(self, pieces: Iterable[Piece]) -> None:
        """The time of these was over before they were answered."""
        if self._trail.active:
            log.debug("deadlines passed", **_whose(pieces))


def _whose(pieces: Iterable[Piece]) -> dict[str, object]:
    return of_requests(piece.context for piece in pieces if piece.context is not None)
