"""What was leased is sent to its shard, and what comes back goes to those who wait for it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import Context
from typing import Final

import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2
from gateway.pieces import News, Piece
from gateway.sending import Sender, output_of
from services.common.errors import (
    FacetError,
    InternalError,
    InvalidRequestError,
    LinkLostError,
)
from services.common.metrics.counts import Histogram
from services.common.tracing.context import of_requests

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 8
"""A piece that so many shards died of, or refused, is given up."""

Unwanted = Callable[[list[Piece], inference_pb2.UnwantedReason], None]


class Deliveries:
    """Leases under way. A lease that comes to nothing is reported lost; the first answer counts."""

    def __init__(
        self,
        pieces: Mapping[int, Piece],
        sender: Sender,
        *,
        present: Callable[[], News | None],
        unwanted: Unwanted,
        on_end: Callable[[], None],
    ) -> None:
        """`pieces`: all that have no answer yet, by id. `present` returns the news for the
        scheduler that leads now; `unwanted` tells everybody that nobody waits for some pieces;
        `on_end` is called whenever a lease has ended.
        """
        self.queue_seconds = Histogram()
        """How long pieces wait until they are leased."""
        self.lost_calls = 0
        """Leases that came to nothing because the shard went away."""
        self._pieces = pieces
        self._sender = sender
        self._present = present
        self._unwanted = unwanted
        self._on_end = on_end
        self._sends: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """How many leases have not ended."""
        return len(self._sends)

    def start(
        self,
        lease: scheduler_pb2.Lease,
        news: News,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Send one dispatcher's part of a grant; an empty part where nobody waits any more.

        `news` goes to the scheduler that leased it; `on_end` is called when it came to its end.
        """
        pieces = []
        for piece_id in lease.piece_ids:
            piece = self._pieces.get(piece_id)
            if piece is None or piece.answer.done():
                news.cancelled(piece_id)
            else:
                pieces.append(piece)
                if not piece.attempts:
                    self.queue_seconds.observe(time.perf_counter() - piece.since)
                piece.attempts += 1
                piece.sending += 1
                piece.wait.end()
        # Not a child of a session: what is on a shard outlives a scheduler. Nor of a request, where
        # one brought it about.
        task = asyncio.create_task(self._send(lease, pieces, news, on_end), context=Context())
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)

    async def _send(
        self,
        lease: scheduler_pb2.Lease,
        pieces: list[Piece],
        news: News,
        on_end: Callable[[], None],
    ) -> None:
        try:
            response = await self._sender.send(lease, pieces)
        except FacetError as error:
            self._lost(lease, pieces, error, news)
        except Exception:
            log.exception("sending a grant failed unexpectedly", **_requests(pieces))
            self._lost(lease, pieces, InternalError("an unexpected error; see the log"), news)
        else:
            self._answered(lease, pieces, response, news)
        finally:
            for piece in pieces:
                piece.sending -= 1
            on_end()
            self._on_end()  # what was lost while no scheduler is there to be told is placed again

    def _answered(
        self,
        lease: scheduler_pb2.Lease,
        pieces: list[Piece],
        response: inference_pb2.InferResponse,
        news: News,
    ) -> None:
        outputs = {output.piece_id: output for output in response.outputs}
        hedged: list[Piece] = []
        for piece in pieces:
            output = outputs.get(piece.piece_id)
            if output is None:
                if not piece.answer.done():  # else it was told to leave it out
                    self._lost(lease, [piece], InternalError("the shard left a piece out"), news)
                continue
            news.completed(piece)
            if piece.links:
                hedged.append(piece)
            if not piece.answer.done():
                piece.answer.set_result(output_of(piece, lease, response, output))
        self._sender.unwanted(hedged, inference_pb2.UNWANTED_REASON_HEDGED)

    def _lost(
        self,
        lease: scheduler_pb2.Lease,
        pieces: list[Piece],
        error: FacetError,
        news: News,
    ) -> None:
        self.lost_calls += isinstance(error, LinkLostError)
        if pieces:
            log.warning(
                "lease lost",
                shard=lease.shard,
                pieces=len(pieces),
                error=error.message,
                **_requests(pieces),
            )
        for piece in pieces:
            piece.last_error = error
            piece.avoid.add(lease.shard)
            if piece.answer.done():
                continue
            piece.wait = piece.span.begin("lease", attempt=piece.attempts + 1)
            if isinstance(error, InvalidRequestError) or piece.attempts >= MAX_ATTEMPTS:
                piece.answer.set_exception(error)
                self._unwanted([piece], inference_pb2.UNWANTED_REASON_CANCELLED)
            elif news is (present := self._present()):
                news.lost(piece, lease)
            elif present is not None:
                # Leased by a former scheduler; the present one has not heard of the piece.
                present.enqueue([piece])


def _requests(pieces: Iterable[Piece]) -> dict[str, object]:
    """Whose pieces these are, as logs say it."""
    return of_requests(piece.span.context for piece in pieces)
