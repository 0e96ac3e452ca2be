"""Between the streams and the core: who is connected, and which grant goes to whom."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Final, Generic, TypeVar

import structlog

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import request_pb2
from services.common.scheduling.costs import Ran
from services.common.tracing.trail import SILENT, Trail
from services.scheduler.account import Account
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, PieceKey, Refusal
from services.scheduler.expected import RequestKey
from services.scheduler.messages import (
    expected_in,
    offer,
    order_message,
    queue_message,
    refusal_message,
    requests_in,
    serving,
)

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
"""How often deadlines and expired leases are looked at."""
QUEUE_TICKS: Final = 5
"""Dispatchers are told of the queues every so many ticks."""
PART_WAIT_MS: Final = 250
"""How long a shard waits for the missing parts of a grant."""

T = TypeVar("T")


class Outbox(Generic[T]):
    """Messages for one stream; `close` ends it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[T | None] = asyncio.Queue()

    def put(self, message: T) -> None:
        """Add a message."""
        self._queue.put_nowait(message)

    def close(self) -> None:
        """End the iteration after the messages that are already there."""
        self._queue.put_nowait(None)

    async def batches(self) -> AsyncIterator[list[T]]:
        """Yield what has gathered since the last time, at least one message."""
        while (message := await self._queue.get()) is not None:
            batch = [message]
            while not self._queue.empty():
                if (message := self._queue.get_nowait()) is None:
                    yield batch
                    return
                batch.append(message)
            yield batch


class Desk:
    """Applies messages to the core and delivers what follows."""

    def __init__(self, core: Scheduler, trail: Trail = SILENT) -> None:
        self.leading = False
        self._core = core
        self._account = Account(core, trail)
        self._stream_numbers = itertools.count(1)
        self._dispatchers: dict[str, Outbox[scheduler_pb2.DispatchResponse]] = {}
        self._shards: dict[str, Outbox[scheduler_pb2.PullResponse]] = {}
        self._addresses: dict[str, str] = {}
        self._wake: asyncio.TimerHandle | None = None
        self._wake_at: float | None = None
        self._told_wasted: dict[str, int] = {}
        self._told_queues: list[scheduler_pb2.ModelQueue] = []

    @property
    def dispatchers(self) -> int:
        """How many are connected."""
        return len(self._dispatchers)

    # Connections.

    def dispatcher_joined(self, name: str) -> tuple[str, Outbox[scheduler_pb2.DispatchResponse]]:
        """Return the key of the stream (another each time it reconnects) and its outbox."""
        key = f"{name}/{next(self._stream_numbers)}"
        outbox: Outbox[scheduler_pb2.DispatchResponse] = Outbox()
        self._dispatchers[key] = outbox
        if self._told_wasted:
            outbox.put(scheduler_pb2.DispatchResponse(wasted_images=self._told_wasted))
        if self._told_queues:
            outbox.put(scheduler_pb2.DispatchResponse(queues=self._told_queues))
        log.info("dispatcher joined", dispatcher=name)
        return key, outbox

    def dispatcher_left(self, key: str) -> None:
        """Forget the stream and its pieces."""
        del self._dispatchers[key]
        self._core.dispatcher_left(key, time.monotonic())
        log.info("dispatcher left", dispatcher=key.rpartition("/")[0])

    def shard_joined(self, hello: scheduler_pb2.ShardHello) -> Outbox[scheduler_pb2.PullResponse]:
        """Return the outbox of the shard's stream; a former stream of that shard ends."""
        if (former := self._shards.get(hello.shard)) is not None:
            former.close()
        outbox: Outbox[scheduler_pb2.PullResponse] = Outbox()
        self._shards[hello.shard] = outbox
        self._addresses[hello.shard] = hello.address
        self._core.shard_joined(hello.shard, time.monotonic())
        log.info("shard joined", shard=hello.shard, address=hello.address)
        return outbox

    def shard_left(self, shard: str, outbox: Outbox[scheduler_pb2.PullResponse]) -> None:
        """Take back what the shard was leased, unless it has a newer stream."""
        if self._shards.get(shard) is outbox:
            del self._shards[shard], self._addresses[shard]
            self._core.shard_left(shard)
            log.info("shard left", shard=shard)
            self._assign()

    def close_streams(self) -> None:
        """End all streams: the leadership is lost, or the process stops."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        for shard in self._shards.values():
            shard.close()
        self._wake_up_at(None, time.monotonic())

    # Messages.

    def dispatcher_said(self, key: str, request: scheduler_pb2.DispatchRequest) -> None:
        """Apply one message of a dispatcher."""
        now = time.monotonic()
        for expected in expected_in(key, request, now):
            if (refusal := self._core.expect(expected, now)) is not None:
                self._refuse(expected.key, refusal, expected.context)
            elif expected.confirm:
                admitted = scheduler_pb2.DispatchResponse(admitted=[expected.key.request_id])
                self._dispatchers[key].put(admitted)
                self._account.admitted(expected, now)
        for abandoned in request.abandoned:
            self._core.expected_no_more(RequestKey(key, abandoned), now)
        for request_id, pieces in requests_in(key, request, now).items():
            if request_id is None:
                self._core.enqueue(pieces)
            elif (refusal := self._core.request(pieces, now)) is not None:
                self._refuse(RequestKey(key, request_id), refusal, pieces[0].context)
        came = {piece.request_id: piece.piece_id for piece in request.enqueue if piece.admitted}
        for request_id, last in came.items():
            self._core.expected_came(RequestKey(key, request_id), PieceKey(key, last), now)
        for piece_id in request.completed:
            self._core.piece_ended(PieceKey(key, piece_id), now)
        for piece_id in request.cancelled:
            self._core.piece_cancelled(PieceKey(key, piece_id))
        for piece_id in request.expired:
            self._core.piece_expired(PieceKey(key, piece_id), now)
        for lost in request.lost:
            self._account.lost(PieceKey(key, lost.piece_id), lost.grant_id)
            self._core.piece_lost(
                PieceKey(key, lost.piece_id), lost.grant_id, unreachable=lost.shard_unreachable
            )
        self._assign()

    def shard_said(
        self,
        shard: str,
        outbox: Outbox[scheduler_pb2.PullResponse],
        request: scheduler_pb2.PullRequest,
    ) -> None:
        """Apply one message of a shard, unless it has a newer stream."""
        if self._shards.get(shard) is not outbox:
            return
        now = time.monotonic()
        ran = [Ran(batch.images, batch.device_us / 1e6) for batch in request.ran]
        for grant_id in request.finished:
            self._core.grant_finished(shard, grant_id, now, ran)
        if request.models_included:
            self._core.shard_serves(shard, serving(request.models))
        if request.HasField("shelf"):
            self._core.shard_offers(shard, offer(request.shelf))
        if request.pull:
            flight_s = request.flight_us / 1e6 if request.HasField("flight_us") else None
            self._core.shard_pulled(shard, now, request.remaining_us / 1e6, flight_s)
        if request.draining:
            self._core.shard_drains(shard)
        self._assign()

    async def keep_time(self) -> None:
        """Look at deadlines, expired leases and what there is to tell until cancelled."""
        for tick in itertools.count():
            await asyncio.sleep(TICK_S)
            dropped = self._core.expire(time.monotonic())
            if dropped:
                self._account.dropped(dropped)
            self._assign()
            self._tell_wasted()
            if tick % QUEUE_TICKS == 0:
                self._tell_queues()

    def _tell_wasted(self) -> None:
        if self._told_wasted != self._core.wasted_images:
            self._told_wasted = dict(self._core.wasted_images)
            for dispatcher in self._dispatchers.values():
                dispatcher.put(scheduler_pb2.DispatchResponse(wasted_images=self._told_wasted))

    def _tell_queues(self) -> None:
        if not self._dispatchers:
            return
        queues = [queue_message(queue) for queue in self._core.queues(time.monotonic())]
        if self._told_queues != queues:
            self._told_queues = queues
            for dispatcher in self._dispatchers.values():
                dispatcher.put(scheduler_pb2.DispatchResponse(queues=queues))

    def _refuse(
        self,
        request: RequestKey,
        refusal: Refusal,
        context: request_pb2.RequestContext | None,
    ) -> None:
        self._account.refused(refusal, context)
        refused = refusal_message(request.request_id, refusal)
        self._dispatchers[request.dispatcher].put(
            scheduler_pb2.DispatchResponse(refusals=[refused])
        )

    def _assign(self) -> None:
        now = time.monotonic()
        for grant in self._core.assign(now):
            self._account.granted(grant, now)
            self._deliver(grant)
        for order in self._core.orders(now):
            self._shards[order.shard].put(order_message(order))
        self._wake_up_at(self._core.wake_at, now)

    def _wake_up_at(self, moment: float | None, now: float) -> None:
        if moment == self._wake_at:  # most messages do not change it
            return
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        self._wake_at = moment
        if moment is not None:
            delay = max(0.0, moment - now)
            self._wake = asyncio.get_running_loop().call_later(delay, self._woken)

    def _woken(self) -> None:
        self._wake = self._wake_at = None
        self._assign()

    def _deliver(self, grant: Grant) -> None:
        parts: dict[str, list[int]] = defaultdict(list)
        for piece in grant.pieces:
            parts[piece.dispatcher].append(piece.piece_id)
        granted = scheduler_pb2.Grant(
            grant_id=grant.grant_id,
            model=grant.model.to_message(),
            parts=len(parts),
            images=grant.images,
            expires_ms=PART_WAIT_MS,
            parked_us=int(grant.parked_s * 1e6),
        )
        self._shards[grant.shard].put(scheduler_pb2.PullResponse(grant=granted))
        best = [
            scheduler_pb2.Candidate(
                shard=candidate.shard, finish_us=max(0, int(candidate.finish_in_s * 1e6))
            )
            for candidate in grant.best
        ]
        for dispatcher, piece_ids in parts.items():
            lease = scheduler_pb2.Lease(
                grant_id=grant.grant_id,
                grant_parts=len(parts),
                shard=grant.shard,
                address=self._addresses[grant.shard],
                piece_ids=piece_ids,
                model=grant.model.to_message(),
                best=best,
            )
            self._dispatchers[dispatcher].put(scheduler_pb2.DispatchResponse(leases=[lease]))
