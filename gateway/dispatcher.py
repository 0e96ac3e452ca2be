"""The middle step: announces pieces to the scheduler and sends their tensors where it says."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from facet.type.v1 import model_pb2
from gateway.requests import Output, Prepared
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    FacetError,
    InternalError,
    InvalidRequestError,
    LinkLostError,
    OverloadedError,
)
from services.common.rpc.fleet import Fleet
from services.common.statuses import from_status

log = structlog.get_logger(__name__)

MAX_ATTEMPTS: Final = 8
"""A piece that so many shards died of, or refused, is given up."""
LINK_WAIT_S: Final = 1.0
"""How long a lease on a shard that the registry has not named yet waits for it."""


@dataclass(slots=True, eq=False)
class _Piece:
    piece_id: int
    model: model_pb2.ModelVersion
    positions: Sequence[int]
    pixels: Sequence[bytes]
    deadline: Deadline
    answer: asyncio.Future[Output]
    attempts: int = 0
    sending: int = 0
    last_error: FacetError | None = field(default=None)

    def descriptor(self) -> scheduler_pb2.PieceDescriptor:
        return scheduler_pb2.PieceDescriptor(
            piece_id=self.piece_id,
            model=self.model,
            images=len(self.positions),
            timeout_ms=self.deadline.remaining_ms,
        )


class Dispatcher:
    """Holds the tensors while the scheduler decides where they go.

    A piece is announced until it is answered: a lease that comes to nothing is reported lost and
    the scheduler leases it again; a scheduler that goes away gets, when one leads again, all that
    is not on a shard already. The first answer counts.
    """

    def __init__(
        self, name: str, shards: Fleet[ShardLink], *, piece_images: int, max_queued_images: int
    ) -> None:
        self.connected = False
        self._name = name
        self._shards = shards
        self._piece_images = piece_images
        self._max_queued_images = max_queued_images
        self._queued_images = 0
        self._ids = itertools.count(1)
        self._pieces: dict[int, _Piece] = {}
        self._news = _News()
        self._sends: set[asyncio.Task[None]] = set()

    async def infer(
        self, prepared: Prepared, model: model_pb2.ModelDescriptor, deadline: Deadline
    ) -> list[Output]:
        """Return what the shards made of the pictures; the pieces cover all of them.

        Raises OverloadedError on arrival when too much waits, DeadlineExceededError, and
        UnavailableError when shards went away again and again.
        """
        count = len(prepared.positions)
        if count and self._queued_images + count > self._max_queued_images:
            raise OverloadedError(
                f"{self._queued_images} images wait already, and at most "
                f"{self._max_queued_images} may"
            )
        pieces = self._split(prepared, model, deadline)
        self._queued_images += count
        try:
            self._announce(pieces)
            async with asyncio.timeout(deadline.remaining_s):
                return await asyncio.gather(*(piece.answer for piece in pieces))
        except TimeoutError:
            raise _timeout_error(pieces) from None
        finally:
            self._queued_images -= count
            self._forget(pieces)

    async def session(self, channel: grpc.aio.Channel) -> None:
        """Serve the leading scheduler's leases until its stream breaks."""
        self._news = news = _News()
        news.message.dispatcher = self._name
        news.enqueue(piece for piece in self._pieces.values() if not piece.sending)
        stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
        stream = stub.Dispatch(news.messages())
        try:
            await stream.wait_for_connection()
            self.connected = True
            async for response in stream:
                for lease in response.leases:
                    # Not a child of this session: what is on a shard outlives a scheduler.
                    send = asyncio.create_task(self._send(lease, news))
                    self._sends.add(send)
                    send.add_done_callback(self._sends.discard)
        finally:
            self.connected = False
            stream.cancel()

    def _split(
        self, prepared: Prepared, model: model_pb2.ModelDescriptor, deadline: Deadline
    ) -> list[_Piece]:
        size = min(self._piece_images, model.max_batch)
        loop = asyncio.get_running_loop()
        return [
            _Piece(
                piece_id=next(self._ids),
                model=model.model,
                positions=prepared.positions[first : first + size],
                pixels=prepared.pixels[first : first + size],
                deadline=deadline,
                answer=loop.create_future(),
            )
            for first in range(0, len(prepared.positions), size)
        ]

    def _announce(self, pieces: list[_Piece]) -> None:
        self._pieces.update((piece.piece_id, piece) for piece in pieces)
        self._news.enqueue(pieces)

    def _forget(self, pieces: list[_Piece]) -> None:
        for piece in pieces:
            del self._pieces[piece.piece_id]
            if not piece.answer.done() or piece.answer.cancelled():
                self._news.cancelled(piece)
                piece.answer.cancel()

    async def _send(self, lease: scheduler_pb2.Lease, news: "_News") -> None:
        """Send one dispatcher's part of a grant; an empty part where nobody waits any more."""
        pieces = [
            piece
            for piece_id in lease.piece_ids
            if (piece := self._pieces.get(piece_id)) is not None and not piece.answer.done()
        ]
        for piece in pieces:
            piece.attempts += 1
            piece.sending += 1
        try:
            response = await self._call(lease, pieces)
        except FacetError as error:
            self._lost(lease, pieces, error, news)
        except Exception:
            log.exception("sending a grant failed unexpectedly")
            self._lost(lease, pieces, InternalError("an unexpected error; see the log"), news)
        else:
            self._answered(lease, pieces, response, news)
        finally:
            for piece in pieces:
                piece.sending -= 1

    async def _call(
        self, lease: scheduler_pb2.Lease, pieces: list[_Piece]
    ) -> inference_pb2.InferResponse:
        link = await self._link(lease.shard)
        deadline = max((piece.deadline for piece in pieces), default=Deadline.after(LINK_WAIT_S))
        request = inference_pb2.InferRequest(
            timeout_ms=deadline.remaining_ms,
            grant_id=lease.grant_id,
            grant_parts=lease.grant_parts,
            model=lease.model,
            pieces=[
                inference_pb2.Piece(
                    piece_id=piece.piece_id, images=len(piece.positions), pixels=piece.pixels
                )
                for piece in pieces
            ],
        )
        return await link.call(request, deadline)

    async def _link(self, shard: str) -> ShardLink:
        """The link to a shard; the scheduler may know a new one before the registry says so."""
        link = await self._shards.wait_for(shard, Deadline.after(LINK_WAIT_S))
        if link is None:
            raise LinkLostError(f"shard {shard} cannot be reached")
        return link

    def _answered(
        self,
        lease: scheduler_pb2.Lease,
        pieces: list[_Piece],
        response: inference_pb2.InferResponse,
        news: "_News",
    ) -> None:
        outputs = {output.piece_id: output for output in response.outputs}
        for piece in pieces:
            output = outputs.get(piece.piece_id)
            if output is None:
                self._lost(lease, [piece], InternalError("the shard left a piece out"), news)
                continue
            news.completed(piece)
            if not piece.answer.done():
                piece.answer.set_result(
                    Output(
                        positions=piece.positions,
                        scores=output.scores if output.HasField("scores") else None,
                        error=from_status(output.error) if output.HasField("error") else None,
                        shard=lease.shard,
                        batch_size=response.batch_size,
                        queue_us=response.queue_us,
                        device_us=response.device_us,
                        attempts=piece.attempts,
                    )
                )

    def _lost(
        self,
        lease: scheduler_pb2.Lease,
        pieces: list[_Piece],
        error: FacetError,
        news: "_News",
    ) -> None:
        if pieces:
            log.warning("lease lost", shard=lease.shard, pieces=len(pieces), error=error.message)
        for piece in pieces:
            piece.last_error = error
            if piece.answer.done():
                continue
            if isinstance(error, InvalidRequestError) or piece.attempts >= MAX_ATTEMPTS:
                piece.answer.set_exception(error)
                self._news.cancelled(piece)
            elif news is self._news:
                news.lost(piece, lease)
            else:  # leased by a former scheduler; the present one has not heard of the piece
                self._news.enqueue([piece])


class _News:
    """What the scheduler is to be told next: what comes while a message leaves goes together."""

    def __init__(self) -> None:
        self.message = scheduler_pb2.DispatchRequest()
        self._some = asyncio.Event()

    async def messages(self) -> AsyncIterator[scheduler_pb2.DispatchRequest]:
        """Yield a message whenever there is something to tell; the first one at once."""
        while True:
            message, self.message = self.message, scheduler_pb2.DispatchRequest()
            self._some.clear()
            yield message
            await self._some.wait()

    def enqueue(self, pieces: Iterable[_Piece]) -> None:
        self.message.enqueue.extend(piece.descriptor() for piece in pieces)
        self._some.set()

    def completed(self, piece: _Piece) -> None:
        self.message.completed.append(piece.piece_id)
        self._some.set()

    def cancelled(self, piece: _Piece) -> None:
        self.message.cancelled.append(piece.piece_id)
        self._some.set()

    def lost(self, piece: _Piece, lease: scheduler_pb2.Lease) -> None:
        self.message.lost.add(
            piece_id=piece.piece_id, grant_id=lease.grant_id, shard_unreachable=True
        )
        self._some.set()


def _timeout_error(pieces: list[_Piece]) -> FacetError:
    """What kept the pieces that have no answer, as far as is known."""
    open_pieces = [piece for piece in pieces if not piece.answer.done()]
    errors = [piece.last_error for piece in open_pieces if piece.last_error is not None]
    because = f"; last: {errors[0].message}" if errors else ""
    if all(piece.attempts == 0 for piece in open_pieces):
        return DeadlineExceededError(f"the deadline passed while waiting for a shard{because}")
    return DeadlineExceededError(f"the deadline passed during inference{because}")
