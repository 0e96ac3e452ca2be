"""What the dispatcher holds, and what it has to tell the scheduler of it."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2, request_pb2
from gateway.pixels import Pixels
from gateway.requests import Output
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    FacetError,
    ModelRefusedError,
    OverloadedError,
)
from services.common.models.key import ModelKey
from services.common.tracing.span import NOBODY, Span


@dataclass(slots=True, eq=False)
class Piece:
    """Pictures of one request that stay together, until they are answered."""

    piece_id: int
    model: model_pb2.ModelVersion
    positions: Sequence[int]
    pixels: Sequence[Pixels]
    deadline: Deadline
    answer: asyncio.Future[Output]
    request_id: int = 0
    """The request that it belongs to; its pieces are admitted or refused together."""
    tenant: str = ""
    """In whose name it waits; the queue is fair between tenants."""
    explain: bool = False
    """The scheduler is to say why it goes where it goes."""
    announced: bool = False
    """A scheduler was told of it, and will not refuse it any more."""
    avoid: set[str] = field(default_factory=set)
    """Shards that could not answer for it."""
    attempts: int = 0
    """How often it was leased."""
    sending: int = 0
    """Leases on which it is on its way now."""
    links: list[ShardLink] = field(default_factory=list)
    """Shards that have it and have not answered."""
    since: float = field(default_factory=time.perf_counter)
    """When it began to wait."""
    last_error: FacetError | None = None
    span: Span = NOBODY
    """The request, or its step, that it belongs to."""
    wait: Span = NOBODY
    """Its wait for a lease."""

    @property
    def key(self) -> ModelKey:
        """The version that is to run it."""
        return ModelKey.from_message(self.model)

    @property
    def answered(self) -> bool:
        """It has its output, or an error."""
        return self.answer.done() and not self.answer.cancelled()

    @property
    def waits(self) -> bool:
        """It is to be leased."""
        return not (self.answer.done() or self.sending)

    def descriptor(self) -> scheduler_pb2.PieceDescriptor:
        """Return what the scheduler sees of it."""
        return scheduler_pb2.PieceDescriptor(
            piece_id=self.piece_id,
            model=self.model,
            images=len(self.positions),
            timeout_ms=self.deadline.remaining_ms,
            request_id=self.request_id,
            admitted=self.announced,
            explain=self.explain,
            context=self.wait.context,
            tenant=self.tenant,
        )


LAZY_S: Final = 0.005
"""How long the news of answers waits for other news to go along with: nothing is decided by it,
and a message of its own costs the scheduler as much as a lease."""


class News:
    """What one scheduler is told. What comes in one round of the event loop goes together."""

    def __init__(self, send: Callable[[scheduler_pb2.DispatchRequest], None], name: str) -> None:
        """`name` is this dispatcher's; the first message, which leaves in any case, has it."""
        self._send = send
        self._message: scheduler_pb2.DispatchRequest | None = None
        self._lazy: asyncio.TimerHandle | None = None
        """Set while all that the message says can wait."""
        self._next.dispatcher = name

    @property
    def _next(self) -> scheduler_pb2.DispatchRequest:
        """The message that leaves next."""
        if self._message is None or self._lazy is not None:
            if self._lazy is not None:
                self._lazy.cancel()
                self._lazy = None
            asyncio.get_running_loop().call_soon(self._leave)
        if self._message is None:
            self._message = scheduler_pb2.DispatchRequest()
        return self._message

    def _leave(self) -> None:
        self._lazy = None
        message, self._message = self._message, None
        if message is not None:
            self._send(message)

    def enqueue(self, pieces: Iterable[Piece]) -> None:
        """These wait for a lease."""
        for piece in pieces:
            self._next.enqueue.append(piece.descriptor())
            piece.announced = True

    def expect(
        self,
        request_id: int,
        model: model_pb2.ModelVersion,
        images: int,
        deadline: Deadline,
        context: request_pb2.RequestContext,
        *,
        tenant: str,
        confirm: bool,
    ) -> None:
        """The pictures of a request are being prepared, or will be when it is admitted."""
        self._next.expected.add(
            request_id=request_id,
            model=model,
            images=images,
            timeout_ms=deadline.remaining_ms,
            tenant=tenant,
            confirm=confirm,
            context=context,
        )

    def abandoned(self, request_id: int) -> None:
        """No piece of an expected request will come."""
        self._next.abandoned.append(request_id)

    def completed(self, piece: Piece) -> None:
        """It was answered."""
        if self._message is None:
            self._message = scheduler_pb2.DispatchRequest()
            self._lazy = asyncio.get_running_loop().call_later(LAZY_S, self._leave)
        self._message.completed.append(piece.piece_id)

    def cancelled(self, piece_id: int) -> None:
        """Nobody waits for it any more."""
        self._next.cancelled.append(piece_id)

    def expired(self, piece_id: int) -> None:
        """Its deadline has passed."""
        self._next.expired.append(piece_id)

    def lost(self, piece: Piece, lease: scheduler_pb2.Lease) -> None:
        """That lease of it came to nothing."""
        self._next.lost.add(
            piece_id=piece.piece_id, grant_id=lease.grant_id, shard_unreachable=True
        )


def refusal_error(refusal: scheduler_pb2.Refusal) -> FacetError:
    """What a caller is told whose request the scheduler refuses."""
    retry_after_s = refusal.retry_after_ms / 1000
    if refusal.reason == scheduler_pb2.REFUSAL_REASON_MODEL_TOO_LARGE:
        return ModelRefusedError("no shard has the memory for the model", reason="MODEL_TOO_LARGE")
    if refusal.reason == scheduler_pb2.REFUSAL_REASON_MODEL_LOADING:
        return OverloadedError(
            f"the model is being loaded, which takes {refusal.predicted_ms} ms or so, "
            f"too close to the deadline or beyond it",
            reason="MODEL_LOADING",
            retry_after_s=retry_after_s,
        )
    return OverloadedError(
        f"the cluster is busy: the answer would take {refusal.predicted_ms} ms, "
        f"too close to the deadline or beyond it",
        retry_after_s=retry_after_s,
    )


def timeout_error(pieces: list[Piece]) -> FacetError:
    """What kept the pieces that have no answer, as far as is known."""
    open_pieces = [piece for piece in pieces if not piece.answered]
    errors = [piece.last_error for piece in open_pieces if piece.last_error is not None]
    because = f"; last: {errors[0].message}" if errors else ""
    if all(piece.attempts == 0 for piece in open_pieces):
        return DeadlineExceededError(f"the deadline passed while waiting for a shard{because}")
    return DeadlineExceededError(f"the deadline passed during inference{because}")
