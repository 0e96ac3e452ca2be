"""Between the streams and the core: who is connected, and which grant goes to whom."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Final, Generic, TypeVar

import structlog

from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.scheduler.leasing import Grant, LeaseBook
from services.scheduler.pieces import Piece, PieceKey

log = structlog.get_logger(__name__)

TICK_S: Final = 0.1
"""How often deadlines and expired leases are looked at."""
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
    """Applies messages to the lease book and delivers what follows."""

    def __init__(self, book: LeaseBook) -> None:
        self.leading = False
        self._book = book
        self._stream_numbers = itertools.count(1)
        self._dispatchers: dict[str, Outbox[scheduler_pb2.Lease]] = {}
        self._shards: dict[str, Outbox[scheduler_pb2.Grant]] = {}
        self._addresses: dict[str, str] = {}

    # Connections.

    def dispatcher_joined(self, name: str) -> tuple[str, Outbox[scheduler_pb2.Lease]]:
        """Return the key of the stream (another each time it reconnects) and its outbox."""
        key = f"{name}/{next(self._stream_numbers)}"
        outbox: Outbox[scheduler_pb2.Lease] = Outbox()
        self._dispatchers[key] = outbox
        log.info("dispatcher joined", dispatcher=name)
        return key, outbox

    def dispatcher_left(self, key: str) -> None:
        """Forget the stream and its pieces."""
        del self._dispatchers[key]
        self._book.dispatcher_left(key)
        log.info("dispatcher left", dispatcher=key.rpartition("/")[0])

    def shard_joined(self, hello: scheduler_pb2.ShardHello) -> Outbox[scheduler_pb2.Grant]:
        """Return the outbox of the shard's stream; a former stream of that shard ends."""
        if (former := self._shards.get(hello.shard)) is not None:
            former.close()
        outbox: Outbox[scheduler_pb2.Grant] = Outbox()
        self._shards[hello.shard] = outbox
        self._addresses[hello.shard] = hello.address
        self._book.shard_joined(hello.shard)
        log.info("shard joined", shard=hello.shard, address=hello.address)
        return outbox

    def shard_left(self, shard: str, outbox: Outbox[scheduler_pb2.Grant]) -> None:
        """Take back what the shard was leased, unless it has a newer stream."""
        if self._shards.get(shard) is outbox:
            del self._shards[shard], self._addresses[shard]
            self._book.shard_left(shard)
            log.info("shard left", shard=shard)
            self._assign()

    def close_streams(self) -> None:
        """End all streams: the leadership is lost, or the process stops."""
        for dispatcher in self._dispatchers.values():
            dispatcher.close()
        for shard in self._shards.values():
            shard.close()

    # Messages.

    def dispatcher_said(self, key: str, request: scheduler_pb2.DispatchRequest) -> None:
        """Apply one message of a dispatcher."""
        now = time.monotonic()
        self._book.enqueue(_piece(key, descriptor, now) for descriptor in request.enqueue)
        for piece_id in (*request.completed, *request.cancelled):
            self._book.piece_ended(PieceKey(key, piece_id))
        for lost in request.lost:
            self._book.piece_lost(
                PieceKey(key, lost.piece_id), lost.grant_id, unreachable=lost.shard_unreachable
            )
        self._assign()

    def shard_said(
        self,
        shard: str,
        outbox: Outbox[scheduler_pb2.Grant],
        request: scheduler_pb2.PullRequest,
    ) -> None:
        """Apply one message of a shard, unless it has a newer stream."""
        if self._shards.get(shard) is not outbox:
            return
        for grant_id in request.finished:
            self._book.grant_finished(shard, grant_id)
        if request.models_included:
            self._book.shard_serves(shard, _max_batches(request.models))
        if request.pull:
            self._book.shard_pulled(shard)
        if request.draining:
            self._book.shard_drains(shard)
        self._assign()

    async def keep_time(self) -> None:
        """Look at deadlines and expired leases until cancelled."""
        while True:
            await asyncio.sleep(TICK_S)
            dropped = self._book.expire(time.monotonic())
            if dropped:
                log.debug("deadlines passed", pieces=len(dropped))
            self._assign()

    def _assign(self) -> None:
        for grant in self._book.assign(time.monotonic()):
            self._deliver(grant)

    def _deliver(self, grant: Grant) -> None:
        parts: dict[str, list[int]] = defaultdict(list)
        for piece in grant.pieces:
            parts[piece.dispatcher].append(piece.piece_id)
        self._shards[grant.shard].put(
            scheduler_pb2.Grant(
                grant_id=grant.grant_id,
                model=grant.model.to_message(),
                parts=len(parts),
                images=grant.images,
                expires_ms=PART_WAIT_MS,
            )
        )
        for dispatcher, piece_ids in parts.items():
            self._dispatchers[dispatcher].put(
                scheduler_pb2.Lease(
                    grant_id=grant.grant_id,
                    grant_parts=len(parts),
                    shard=grant.shard,
                    address=self._addresses[grant.shard],
                    piece_ids=piece_ids,
                    model=grant.model.to_message(),
                )
            )


def _piece(dispatcher: str, descriptor: scheduler_pb2.PieceDescriptor, now: float) -> Piece:
    return Piece(
        key=PieceKey(dispatcher, descriptor.piece_id),
        model=ModelKey.from_message(descriptor.model),
        images=descriptor.images,
        deadline=now + descriptor.timeout_ms / 1000,
    )


def _max_batches(models: Iterable[model_pb2.ModelDescriptor]) -> dict[ModelKey, int]:
    return {ModelKey.from_message(model.model): model.max_batch for model in models}
