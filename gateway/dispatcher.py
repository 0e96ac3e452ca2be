"""The middle step: announces pieces to the scheduler and sends their tensors where it says."""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final
from weakref import WeakValueDictionary

import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from facet.type.v1 import model_pb2
from gateway.deliveries import Deliveries
from gateway.door.caller import tenant
from gateway.expectation import Expectation
from gateway.fallback import Fallback
from gateway.pieces import News, Piece, refusal_error, timeout_error
from gateway.pixels import PixelMemory
from gateway.requests import Output, Prepared
from gateway.sending import Sender
from gateway.shards import ShardLink
from services.common.deadline import Deadline
from services.common.errors import (
    FacetError,
    OverloadedError,
)
from services.common.http2.channel import Channel
from services.common.metrics.counts import Histogram
from services.common.models.key import ModelKey
from services.common.rpc.fleet import Fleet
from services.common.timing_wheel import TimingWheel
from services.common.tracing.span import CURRENT

log = structlog.get_logger(__name__)

PRESSED_S: Final = 1.0
"""For so long after a refusal more are to be expected."""


class Dispatcher:
    """Holds the tensors while the scheduler decides where they go.

    A piece is announced until it is answered: a lease that comes to nothing is reported lost and
    the scheduler leases it again; a scheduler that goes away gets, when one leads again, all that
    is not on a shard already; meanwhile pieces are placed without one. The first answer counts.
    """

    def __init__(
        self,
        name: str,
        shards: Fleet[ShardLink],
        memory: PixelMemory,
        *,
        max_queued_images: int,
        on_change: Callable[[], None] = lambda: None,
        on_queues: Callable[[Sequence[scheduler_pb2.ModelQueue]], None] = lambda queues: None,
    ) -> None:
        """`on_change` is called whenever `connected` or `wasted_images` changes.

        `on_queues` gets what a scheduler says of what waits, and none when another one leads.
        """
        self.connected = False
        self.wasted_images: dict[str, int] = {}
        """What the scheduler that leads leased for nothing, by reason; see DispatchResponse."""
        self.queued_images = 0
        """Pictures that have no answer yet."""
        self.seconds = Histogram()
        """How long requests take here."""
        self._on_change = on_change
        self._on_queues = on_queues
        self._name = name
        self._sender = Sender(shards, memory)
        self._max_queued_images = max_queued_images
        self._ids = itertools.count(1)
        self._wheel = TimingWheel()
        self._pieces: dict[int, Piece] = {}
        self._pressed_until = 0.0
        """Until then requests wait to be admitted before anything is done for them."""
        self._expected: WeakValueDictionary[int, Expectation] = WeakValueDictionary()
        self._news: News | None = None
        self._untold = News(lambda _: None, name)
        """Of leases that no scheduler made: none is to hear of them."""
        self._fallback = Fallback(name)
        self.deliveries = Deliveries(
            self._pieces,
            self._sender,
            present=lambda: self._news,
            unwanted=self._unwanted,
            on_end=self._place_waiting,
        )

    def expect(
        self, images: int, model: model_pb2.ModelDescriptor, deadline: Deadline
    ) -> Expectation:
        """Tell the scheduler of a request while its pictures are prepared; to be entered."""
        request_id, news = next(self._ids), self._news
        expected = Expectation(request_id, None, self._wheel)
        if news is not None and self._expected:  # where it is alone, nobody needs to know
            loop = asyncio.get_running_loop()
            # To decode what is refused a moment later would take the time of those that are not.
            confirm = loop.time() < self._pressed_until
            context = CURRENT.get().context
            news.expect(
                request_id,
                model.model,
                images,
                deadline,
                context,
                tenant=tenant(),
                confirm=confirm,
            )
            admitted = loop.create_future() if confirm else None
            expected = Expectation(request_id, news, self._wheel, admitted)
        self._expected[request_id] = expected
        return expected

    async def infer(
        self,
        prepared: Prepared,
        model: model_pb2.ModelDescriptor,
        deadline: Deadline,
        expected: Expectation | None = None,
        *,
        explain: bool = False,
    ) -> list[Output]:
        """Return what the shards made of the pictures; the pieces cover all of them.

        `expected` is the request as the scheduler was told of it, if it was; with `explain` the
        outputs name the shards that were the best. Raises OverloadedError when too much waits,
        DeadlineExceededError, and UnavailableError when shards went away again and again.
        """
        expected = expected or Expectation(next(self._ids), None, self._wheel)
        count = len(prepared.positions)
        if not count:
            expected.abandon()
            return []
        if self.queued_images + count > self._max_queued_images:
            expected.abandon()
            raise OverloadedError(
                f"{self.queued_images} images wait already, and at most "
                f"{self._max_queued_images} may"
            )
        since = time.perf_counter()
        pieces = self._split(prepared, model, deadline, expected, explain)
        self.queued_images += count
        try:
            self._announce(pieces)
            expire = partial(self._expire, pieces)
            slot = self._wheel.add(deadline.at, expire)
            try:
                if len(pieces) == 1:
                    return [await pieces[0].answer]
                return await asyncio.gather(*(piece.answer for piece in pieces))
            finally:
                slot.discard(expire)
        finally:
            self.queued_images -= count
            self._forget(pieces)
            self.seconds.observe(time.perf_counter() - since)

    async def session(self, channel: Channel) -> None:
        """Serve the leading scheduler's leases until its stream breaks."""
        stream = scheduler_pb2_grpc.SchedulerServiceStub(channel).Dispatch()
        self._news = news = News(stream.send, self._name)
        self.wasted_images = {}
        self._on_queues(())
        news.enqueue(piece for piece in self._pieces.values() if piece.waits)
        try:
            await stream.wait_for_connection()
            self._set_connected(True)
            async for response in stream:
                for refusal in response.refusals:
                    self._refused(refusal)
                for request_id in response.admitted:
                    if (expected := self._expected.get(request_id)) is not None:
                        expected.admit()
                for lease in response.leases:
                    self.deliveries.start(lease, news)
                if response.wasted_images:
                    self.wasted_images = dict(response.wasted_images)
                    self._on_change()
                if response.queues:
                    self._on_queues(response.queues)
        finally:
            self._set_connected(False)
            self._on_queues(())
            self._news = None  # whoever leads next is told of every piece that waits then
            stream.cancel()
            for expected in self._expected.values():
                expected.admit()
            self._place_waiting()

    def shard_reported(self, shard: str, report: inference_pb2.WatchShardResponse) -> None:
        """Take in what a shard says of itself, models included."""
        self._fallback.reported(shard, report)
        self._place_waiting()

    def shards_are(self, shards: Collection[str]) -> None:
        """Forget what other shards reported."""
        self._fallback.shards_are(shards)

    def give_up(self, why_not: Callable[[ModelKey], FacetError | None]) -> None:
        """Fail the pieces of models that will not be served; `why_not` says why, or None."""
        waiting = [piece for piece in self._pieces.values() if piece.waits]
        errors = {key: why_not(key) for key in {piece.key for piece in waiting}}
        given_up = []
        for piece in waiting:
            if (error := errors[piece.key]) is not None:
                piece.answer.set_exception(error)
                given_up.append(piece)
        self._unwanted(given_up, inference_pb2.UNWANTED_REASON_CANCELLED)

    def _place_waiting(self) -> None:
        """Without a scheduler, place every piece that waits and can be placed."""
        if self._news is None:
            for piece in self._pieces.values():
                if piece.waits and (placed := self._fallback.lease(piece)) is not None:
                    ended = partial(self._fallback.ended, placed)
                    self.deliveries.start(placed.lease, self._untold, ended)

    def _refused(self, refusal: scheduler_pb2.Refusal) -> None:
        error = refusal_error(refusal)
        if refusal.reason == scheduler_pb2.REFUSAL_REASON_OVERLOADED:
            self._pressed_until = asyncio.get_running_loop().time() + PRESSED_S
        if (expected := self._expected.get(refusal.request_id)) is not None:
            expected.refuse(error)
        refused = [
            piece
            for piece in self._pieces.values()
            if piece.request_id == refusal.request_id and not piece.answer.done()
        ]
        for piece in refused:
            piece.answer.set_exception(error)
        # An expected request's pieces may have left here before the refusal came.
        self._unwanted(refused, inference_pb2.UNWANTED_REASON_CANCELLED)

    def _set_connected(self, connected: bool) -> None:
        if self.connected != connected:
            self.connected = connected
            self._on_change()

    def _split(
        self,
        prepared: Prepared,
        model: model_pb2.ModelDescriptor,
        deadline: Deadline,
        expected: Expectation,
        explain: bool,
    ) -> list[Piece]:
        size = min(model.piece_images or model.max_batch, model.max_batch)
        loop = asyncio.get_running_loop()
        announced, span = expected.come(self._news), CURRENT.get()
        owner = tenant()
        return [
            Piece(
                piece_id=next(self._ids),
                model=model.model,
                positions=prepared.positions[first : first + size],
                pixels=prepared.pixels[first : first + size],
                deadline=deadline,
                answer=loop.create_future(),
                request_id=expected.request_id,
                announced=announced,
                tenant=owner,
                explain=explain,
                span=span,
                wait=span.begin("lease"),
            )
            for first in range(0, len(prepared.positions), size)
        ]

    def _announce(self, pieces: list[Piece]) -> None:
        self._pieces.update((piece.piece_id, piece) for piece in pieces)
        if self._news is not None:
            self._news.enqueue(pieces)
        else:
            self._place_waiting()

    def _forget(self, pieces: list[Piece]) -> None:
        unanswered = [piece for piece in pieces if not piece.answered]
        for piece in pieces:
            del self._pieces[piece.piece_id]
            piece.wait.end()
        if unanswered:
            for piece in unanswered:
                piece.answer.cancel()
            self._unwanted(unanswered, inference_pb2.UNWANTED_REASON_CANCELLED)

    def _expire(self, pieces: list[Piece]) -> None:
        """The deadline of a request has passed."""
        error = timeout_error(pieces)
        late = [piece for piece in pieces if not piece.answer.done()]
        for piece in late:
            piece.answer.set_exception(error)
        self._unwanted(late, inference_pb2.UNWANTED_REASON_DEADLINE)

    def _unwanted(self, pieces: list[Piece], reason: inference_pb2.UnwantedReason) -> None:
        """Nobody waits for these any more: the scheduler and the shards are not to either."""
        if self._news is not None:
            late = reason == inference_pb2.UNWANTED_REASON_DEADLINE
            tell = self._news.expired if late else self._news.cancelled
            for piece in pieces:
                tell(piece.piece_id)
        self._sender.unwanted(pieces, reason)
