"""How many grants a second the core makes on one processor core, with all that they entail."""

import heapq
import itertools
import random
import time
from typing import Final

from benchmarks.scheduling.cluster import BASE, MAX_BATCH, MODEL, PIECE_IMAGES, full_rate
from services.common.scheduling.costs import Ran
from services.scheduler.core import Scheduler
from services.scheduler.descriptors import Grant, Piece, PieceKey, Serving

SHARDS: Final = 512
SMALL_SHARDS: Final = 2
LOAD: Final = 0.9
WARM_UP_GRANTS: Final = 1000
TRIES: Final = 5


def grants_per_s(seconds: float) -> float:
    """Return grants a second of processor time, of a cluster under load, all messages included.

    For each grant the core takes in the request's admission, its pieces, the shard's report and
    pull and the pieces' answers; virtual devices take their true time with noise, so that
    predictions move as in production. What the loop around the core costs counts as well. The
    best of TRIES measurements: what else runs on the machine only ever makes one worse.
    """
    return _best(seconds, _Drive(SHARDS, PIECE_IMAGES, most_pieces=8))


def small_grants_per_s(seconds: float) -> float:
    """Return the same for two shards and requests of one image: what a small cluster costs."""
    return _best(seconds, _Drive(SMALL_SHARDS, 1, most_pieces=1))


def _best(seconds: float, drive: "_Drive") -> float:
    while drive.grants < WARM_UP_GRANTS:
        drive.step()
    return max(_measure(drive, seconds / TRIES) for _ in range(TRIES))


def _measure(drive: "_Drive", seconds: float) -> float:
    before, start = drive.grants, time.process_time()
    while time.process_time() - start < seconds:
        for _ in range(100):
            drive.step()
    return (drive.grants - before) / (time.process_time() - start)


class _Drive:
    def __init__(self, shards: int, piece_images: int, most_pieces: int) -> None:
        self.grants = 0
        self._piece_images = piece_images
        self._most_pieces = most_pieces
        self._rng = random.Random(1)
        self._core = Scheduler("bench")
        self._ids = itertools.count(1)
        self._ends: list[tuple[float, int, Grant]] = []
        self._offered = 0.0
        # Of full batches where there are many pieces; one image at a time, of batches of one.
        image_s = BASE.seconds(1) if most_pieces == 1 else 1 / full_rate(1.0)
        self._rate = LOAD * shards / image_s
        self._expire_at = 0.0
        self._now = 0.0
        for number in range(shards):
            name = f"s{number}"
            self._core.shard_joined(name, 0.0)
            serving = {MODEL: Serving(MAX_BATCH, (Ran(1, BASE.seconds(1)), Ran(32, 0.036)))}
            self._core.shard_serves(name, serving)
            self._core.shard_pulled(name, 0.0)
            self._arrive(0.0)
        self._assign(0.0)

    def step(self) -> None:
        """One batch ends; while none runs, a request arrives."""
        if not self._ends:
            self._now = max(self._now, self._offered / self._rate)
            self._arrive(self._now)
            self._assign(self._now)
            return
        now, _, grant = heapq.heappop(self._ends)
        self._now = now
        core = self._core
        while self._offered < self._rate * now:
            self._arrive(now)
        core.grant_finished(
            grant.shard, grant.grant_id, now, (Ran(grant.images, BASE.seconds(grant.images)),)
        )
        core.shard_pulled(grant.shard, now, 0.0, 0.001)
        for key in grant.pieces:
            core.piece_ended(key, now)
        if now >= self._expire_at:
            self._expire_at = now + 0.1
            core.expire(now)
        self._assign(now)

    def _arrive(self, now: float) -> None:
        count = self._rng.randint(1, self._most_pieces)
        images = count * self._piece_images
        self._offered += images
        pieces = [
            Piece(PieceKey("d", next(self._ids)), MODEL, self._piece_images, now + 1.0)
            for _ in range(count)
        ]
        self._core.request(pieces, now)

    def _assign(self, now: float) -> None:
        grants = self._core.assign(now)
        _ = self._core.wake_at  # production asks each time
        for grant in grants:
            self.grants += 1
            end = now + 0.001 + BASE.seconds(grant.images) * self._rng.uniform(0.95, 1.05)
            heapq.heappush(self._ends, (end, self.grants, grant))
