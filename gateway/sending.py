"""Sending pieces to the shard that they were leased to, and telling it which are not wanted."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2
from gateway.pieces import Piece
from gateway.pixels import PixelMemory, set_pixels
from gateway.requests import Output
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.errors import FacetError, LinkLostError
from services.common.rpc.fleet import Fleet
from services.common.statuses import from_status

LINK_WAIT_S: Final = 1.0
"""How long a lease on a shard that the registry has not named yet waits for it."""


class Sender:
    """Sends tensors, as handles to shared memory where the shard is on this host."""

    def __init__(self, shards: Fleet[ShardLink], memory: PixelMemory) -> None:
        self._shards = shards
        self._memory = memory

    async def send(
        self, lease: scheduler_pb2.Lease, pieces: Sequence[Piece]
    ) -> inference_pb2.InferResponse:
        """Send this dispatcher's part of a grant and return the answer.

        Pieces that nobody waits for any more when the shard is found are left out. Raises
        LinkLostError when the shard cannot be reached, and what the shard answered.
        """
        link = await self._link(lease.shard)
        pieces = [piece for piece in pieces if not piece.answer.done()]
        deadline = max((piece.deadline for piece in pieces), default=Deadline.after(LINK_WAIT_S))
        request = inference_pb2.InferRequest(
            timeout_ms=deadline.remaining_ms,
            grant_id=lease.grant_id,
            grant_parts=lease.grant_parts,
            model=lease.model,
            memory=self._memory.handle if link.shares_memory else None,
        )
        steps = [piece.span.begin("infer", shard=lease.shard) for piece in pieces]
        for piece, step in zip(pieces, steps, strict=True):
            message = request.pieces.add(
                piece_id=piece.piece_id, images=len(piece.positions), context=step.context
            )
            set_pixels(message, piece.pixels, shared=link.shares_memory)
            if piece.deadline < deadline:
                message.timeout_ms = piece.deadline.remaining_ms
            piece.links.append(link)
        try:
            return await link.call(request, deadline)
        except FacetError as error:
            for step in steps:
                step.fail(error)
            raise
        finally:
            for piece, step in zip(pieces, steps, strict=True):
                piece.links.remove(link)
                step.end()

    def unwanted(self, pieces: Iterable[Piece], reason: inference_pb2.UnwantedReason) -> None:
        """Tell every shard that has some of these pieces that nobody waits for them any more."""
        messages: defaultdict[ShardLink, inference_pb2.InferRequest] = defaultdict(
            inference_pb2.InferRequest
        )
        for piece in pieces:
            # One shard may have it twice, where it has to do for the others.
            for link in set(piece.links):
                messages[link].unwanted.add(piece_id=piece.piece_id, reason=reason)
        for link, message in messages.items():
            link.tell(message)

    async def _link(self, shard: str) -> ShardLink:
        """The link to a shard; the scheduler may know a new one before the registry says so."""
        link = await self._shards.wait_for(shard, Deadline.after(LINK_WAIT_S))
        if link is None:
            raise LinkLostError(f"shard {shard} cannot be reached")
        return link


def output_of(
    piece: Piece,
    lease: scheduler_pb2.Lease,
    response: inference_pb2.InferResponse,
    output: inference_pb2.PieceOutput,
) -> Output:
    """Return what a shard made of one piece."""
    return Output(
        positions=piece.positions,
        scores=output.scores if output.HasField("scores") else None,
        error=from_status(output.error) if output.HasField("error") else None,
        shard=lease.shard,
        batch_size=response.batch_size,
        queue_us=response.queue_us,
        device_us=response.device_us,
        attempts=piece.attempts,
        candidates=lease.best,
    )
