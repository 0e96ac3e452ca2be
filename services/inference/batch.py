"""One batch: the parts of a grant, stacked for the device and taken apart again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import structlog

from facet.inference.v1 import inference_pb2
from facet.type.v1 import request_pb2
from services.common.deadline import Deadline
from services.common.errors import FacetError, InternalError, InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.common.shared_memory import Attachments
from services.common.statuses import to_status
from services.common.tensors import to_message
from services.common.tracing.context import of_requests

log = structlog.get_logger(__name__)

Pixels: TypeAlias = npt.NDArray[np.uint8]
Scores: TypeAlias = npt.NDArray[np.float32]


@dataclass(slots=True, eq=False)
class Part:
    """What one dispatcher sent for a grant, and the future that gets the answer."""

    request: inference_pb2.InferRequest
    deadline: Deadline
    answer: asyncio.Future[inference_pb2.InferResponse]
    attachments: Attachments = field(default_factory=Attachments)
    """Shared memory of the dispatcher that sent it."""
    received: float = field(default_factory=time.monotonic)
    begun: bool = False
    """It is on the device, and will be answered with its batch."""
    unwanted: dict[int, str] = field(default_factory=dict)
    """Pieces that its dispatcher does not want any more, and why."""
    due: float = 0.0
    """When the first deadline of those pieces passes that were wanted as the batch began."""

    @property
    def images(self) -> int:
        """Images of all its pieces."""
        return sum(piece.images for piece in self.request.pieces)

    @property
    def contexts(self) -> Iterator[request_pb2.RequestContext]:
        """The requests that its pieces are of."""
        return (piece.context for piece in self.request.pieces)

    @property
    def wanted(self) -> bool:
        """Somebody still waits for it."""
        return not (self.answer.done() or self.deadline.expired)

    def give_up(self, piece_id: int, reason: str) -> None:
        """Its dispatcher does not want that piece any more, which may be another part's."""
        if any(piece.piece_id == piece_id for piece in self.request.pieces):
            self.unwanted.setdefault(piece_id, reason)

    @property
    def given_up(self) -> bool:
        """It need not run: its dispatcher wants none of its pieces any more."""
        return bool(self.unwanted) and len(self.unwanted) == len(self.request.pieces)

    def wanted_pieces(self, now: float) -> list[inference_pb2.Piece]:
        """Return the pieces that somebody waits for."""
        pieces = list(self.request.pieces)
        own = [piece for piece in pieces if piece.HasField("timeout_ms")]
        self.due = min(map(self._ends, own), default=self.deadline.at)
        if self.due > now and not self.unwanted:
            return pieces
        wanted = [
            piece
            for piece in pieces
            if piece.piece_id not in self.unwanted and self._ends(piece) > now
        ]
        self.due = min(map(self._ends, wanted), default=self.deadline.at)
        return wanted

    def count_wasted(
        self, wasted: Counter[str], ran: Iterable[inference_pb2.Piece], now: float
    ) -> None:
        """Add the images of those pieces that nobody waits for any more.

        By reason, as ShardLoad names it. `ran` are those that were wanted when the batch began.
        """
        # Nothing but the end of the stream that it came by cancels a part.
        gone = "disconnected" if self.answer.cancelled() else None
        if gone or self.unwanted or self.due <= now:
            for piece in ran:
                late = "deadline" if self._ends(piece) <= now else None
                if reason := self.unwanted.get(piece.piece_id) or gone or late:
                    wasted[reason] += piece.images

    def _ends(self, piece: inference_pb2.Piece) -> float:
        """When the time of the piece's caller is over."""
        if piece.HasField("timeout_ms"):
            return self.received + piece.timeout_ms / 1000
        return self.deadline.at


@dataclass(slots=True)
class Caller:
    """One dispatcher's stream."""

    attachments: Attachments = field(default_factory=Attachments)
    """Its shared memory."""
    parts: set[Part] = field(default_factory=set)
    """What came by it and is not answered yet."""


@dataclass(frozen=True, slots=True)
class PieceInput:
    """A piece, ready for the device."""

    piece_id: int
    pixels: Pixels
    """uint8 [images, height, width, channels]"""
    context: request_pb2.RequestContext
    """Whose it is."""


def unpack(
    request: inference_pb2.InferRequest,
    wanted: Iterable[inference_pb2.Piece],
    spec: InputSpec,
    attachments: Attachments,
) -> list[PieceInput]:
    """Return these pieces of a request as arrays over the message's bytes or the shared memory.

    Raises InvalidRequestError (WRONG_SHAPE) when a piece has not the bytes that it should have,
    UnavailableError (NO_SHARED_MEMORY) when they cannot be reached.
    """
    memory = attachments.get(request.memory) if request.HasField("memory") else None
    pieces = []
    for piece in wanted:
        if memory is not None and piece.offsets:
            chunks = [memory.array(offset, spec.nbytes) for offset in piece.offsets]
        else:
            chunks = [np.frombuffer(chunk, np.uint8) for chunk in piece.pixels]
        flat = chunks[0] if len(chunks) == 1 else np.concatenate(chunks or [np.empty(0, np.uint8)])
        if piece.images == 0 or flat.size != piece.images * spec.nbytes:
            raise InvalidRequestError(
                f"a piece of {piece.images} images of {list(spec.shape)} cannot have "
                f"{flat.size} bytes",
                reason="WRONG_SHAPE",
            )
        pixels = flat.reshape(piece.images, *spec.shape)
        pieces.append(PieceInput(piece.piece_id, pixels, piece.context))
    return pieces


def run_pieces(
    pieces: list[PieceInput], run: Callable[[Pixels], Scores]
) -> dict[int, Scores | FacetError]:
    """Run the pieces (keyed by their place) as one batch; where that fails, find the one at fault.

    A failing batch is halved until the poison piece stands alone, so that its batch-mates
    are answered.
    """
    return _run_range(pieces, run, 0, len(pieces))


def _run_range(
    pieces: list[PieceInput], run: Callable[[Pixels], Scores], first: int, end: int
) -> dict[int, Scores | FacetError]:
    batch = [piece.pixels for piece in pieces[first:end]]
    try:
        scores = run(batch[0] if len(batch) == 1 else np.concatenate(batch))
    except Exception as error:
        if end - first == 1:
            whose = of_requests([pieces[first].context])
            log.warning("the model failed on a piece", error=repr(error), **whose)
            return {first: InternalError(f"the model failed: {error}", reason="MODEL_FAILED")}
        middle = (first + end) // 2
        return _run_range(pieces, run, first, middle) | _run_range(pieces, run, middle, end)
    bounds = np.cumsum([len(pixels) for pixels in batch])[:-1]
    return dict(enumerate(np.split(scores, bounds), first))


def piece_output(piece_id: int, outcome: Scores | FacetError) -> inference_pb2.PieceOutput:
    """Return the message for one piece's outcome."""
    if isinstance(outcome, FacetError):
        return inference_pb2.PieceOutput(piece_id=piece_id, error=to_status(outcome))
    return inference_pb2.PieceOutput(piece_id=piece_id, scores=to_message(outcome))
