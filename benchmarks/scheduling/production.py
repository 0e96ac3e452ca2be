"""The production policy: services.scheduler.core under the virtual clock.

Only what surrounds the core is played here: one dispatcher, the shards' side of the protocol,
and the messages between them, each with its delay.
"""

import itertools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.scheduling.cluster import (
    MAX_BATCH,
    MODEL,
    PIECE_IMAGES,
    Device,
    Network,
    split,
)
from benchmarks.scheduling.events import Loop
from benchmarks.scheduling.outcome import Tracker
from benchmarks.scheduling.workload import Request
from services.common.scheduling.costs import CostModel, Ran, prior
from services.common.scheduling.lead import Lead
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, Piece, PieceKey, Serving

EXPIRE_EVERY_S: Final = 0.05
DEATH_NOTICED_S: Final = 0.02
"""From a shard's death to the end of its streams."""


@dataclass(slots=True, eq=False)
class _Shard:
    device: Device
    costs: CostModel
    lead: Lead = field(default_factory=Lead)
    waiting: deque[tuple[Grant, int]] = field(default_factory=deque)
    running: bool = False
    predicted_end: float = 0.0
    pulled: bool = False
    pulled_at: float = 0.0
    flight_s: float | None = None
    plan: int = 0
    """Counts the plans to pull; an older one is void."""


@dataclass(slots=True, eq=False)
class _Open:
    request: Request
    images: int


class Production:
    """The core, one dispatcher, and the shards."""

    def __init__(
        self, loop: Loop, devices: Sequence[Device], network: Network, tracker: Tracker
    ) -> None:
        self.scheduler = Scheduler("sim")
        self.grants = 0
        self.wakes = 0
        """Calls of `assign` without a message."""
        self._loop = loop
        self._network = network
        self._tracker = tracker
        self._piece_ids = itertools.count(1)
        self._open: dict[PieceKey, _Open] = {}
        self._wake: float | None = None
        self._shards = {}
        for device in devices:
            measured = device.warm_up()
            self._shards[device.name] = _Shard(device, CostModel(prior(measured)))
            self.scheduler.shard_joined(device.name, 0.0)
            serving = {MODEL: Serving(MAX_BATCH, measured)}
            self.scheduler.shard_serves(device.name, serving)
        for shard in self._shards.values():
            self._plan(shard)
        loop.after(EXPIRE_EVERY_S, self._expire)

    # The dispatcher.

    def offer(self, request: Request) -> None:
        """A request arrives at the dispatcher."""
        self._loop.after(self._network.small(), self._announced, request)

    def died(self, device: Device) -> None:
        """A device died with its process."""
        self._loop.after(DEATH_NOTICED_S, self._left, device.name)

    def _leased(self, grant: Grant) -> None:
        shard = self._shards.get(grant.shard)
        if shard is not None:  # otherwise the scheduler leases its pieces again
            images = sum(self._open[key].images for key in grant.pieces if key in self._open)
            self._loop.after(self._network.tensors(images), self._arrived, shard, grant, images)

    def _answered(self, grant: Grant) -> None:
        ended = [key for key in grant.pieces if key in self._open]
        for key in ended:
            piece = self._open.pop(key)
            self._tracker.answered(piece.request, piece.images, self._loop.now)
        self._loop.after(self._network.small(), self._ended, ended)

    def _gave_up(self, keys: Sequence[PieceKey]) -> None:
        late = [key for key in keys if self._open.pop(key, None) is not None]
        if late:
            self._loop.after(self._network.small(), self._cancelled, late)

    # The scheduler.

    def _announced(self, request: Request) -> None:
        now = self._loop.now
        pieces = []
        for images in split(request.images, PIECE_IMAGES):
            key = PieceKey("dispatcher", next(self._piece_ids))
            pieces.append(Piece(key, MODEL, images, request.deadline, request.tenant))
        if self.scheduler.request(pieces, now) is not None:
            self._tracker.refused(request)
            return
        self._open.update({piece.key: _Open(request, piece.images) for piece in pieces})
        self._loop.at(request.deadline, self._gave_up, [piece.key for piece in pieces])
        self._assign()

    def _ended(self, keys: Sequence[PieceKey]) -> None:
        for key in keys:
            self.scheduler.piece_ended(key, self._loop.now)
        self._assign()

    def _cancelled(self, keys: Sequence[PieceKey]) -> None:
        for key in keys:
            self.scheduler.piece_cancelled(key)
        self._assign()

    def _finished(self, shard: str, grant_id: str, ran: Sequence[Ran]) -> None:
        self.scheduler.grant_finished(shard, grant_id, self._loop.now, ran)
        self._assign()

    def _pulled(self, shard: str, remaining_s: float, flight_s: float | None) -> None:
        if shard in self._shards:
            self.scheduler.shard_pulled(shard, self._loop.now, remaining_s, flight_s)
            self._assign()

    def _left(self, shard: str) -> None:
        del self._shards[shard]
        self.scheduler.shard_left(shard)
        self._assign()

    def _expire(self) -> None:
        self.scheduler.expire(self._loop.now)
        self._assign()
        self._loop.after(EXPIRE_EVERY_S, self._expire)

    def _assign(self) -> None:
        now = self._loop.now
        for grant in self.scheduler.assign(now):
            self.grants += 1
            self._loop.after(self._network.small(), self._leased, grant)
        wake = self.scheduler.wake_at
        if wake != self._wake:
            self._wake = wake
            if wake is not None:
                self._loop.at(wake, self._woken, wake)

    def _woken(self, wake: float) -> None:
        if self._wake == wake:  # otherwise a message changed it
            self._wake = None
            self.wakes += 1
            self._assign()

    # The shards.

    def _arrived(self, shard: _Shard, grant: Grant, images: int) -> None:
        if shard.device.dead:
            return
        shard.flight_s = shard.lead.arrived(self._loop.now - shard.pulled_at, grant.parked_s)
        shard.pulled = False
        shard.waiting.append((grant, images))
        self._next(shard)

    def _next(self, shard: _Shard) -> None:
        while shard.waiting and not shard.running:
            grant, images = shard.waiting.popleft()
            if images == 0:  # its callers gave up meanwhile
                self._report(shard, grant, [])
                continue
            shard.running = True
            shard.predicted_end = self._loop.now + shard.costs.cost.seconds(images)
            shard.device.run(images, partial(self._done, shard, grant, images))
            break
        self._plan(shard)

    def _done(self, shard: _Shard, grant: Grant, images: int, seconds: float) -> None:
        shard.running = False
        ran = Ran(images, seconds)
        shard.costs.observe(ran)
        shard.lead.ended(shard.predicted_end - self._loop.now)
        self._loop.after(self._network.small(), self._answered, grant)
        self._report(shard, grant, [ran])
        self._next(shard)

    def _report(self, shard: _Shard, grant: Grant, ran: Sequence[Ran]) -> None:
        name = shard.device.name
        self._loop.after(self._network.report(), self._finished, name, grant.grant_id, ran)

    def _plan(self, shard: _Shard) -> None:
        remaining = max(0.0, shard.predicted_end - self._loop.now) if shard.running else 0.0
        wait = shard.lead.pull_in(remaining, waiting=bool(shard.waiting), pulled=shard.pulled)
        if wait is not None:
            shard.plan += 1
            self._loop.after(wait, self._pull, shard, shard.plan)

    def _pull(self, shard: _Shard, plan: int) -> None:
        if shard.plan != plan or shard.pulled or shard.waiting or shard.device.dead:
            return
        now = self._loop.now
        remaining = max(0.0, shard.predicted_end - now) if shard.running else 0.0
        shard.pulled, shard.pulled_at = True, now
        name = shard.device.name
        self._loop.after(self._network.small(), self._pulled, name, remaining, shard.flight_s)
