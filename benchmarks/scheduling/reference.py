"""What nobody can do: one queue at the devices themselves, true speeds, no messages.

At the very moment that a device falls idle it takes images off the global queue by the rules of
production (granting.py), but with the true costs and the true ends of all running batches, noise
included. Answers are there when the batch ends, a death is known at once, and where it is told to
(`refuses`) it refuses what could not be answered in time. It has the same pieces as production;
with `portions` it may cut requests anywhere, which tells what pieces cost.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.scheduling.cluster import BASE, MAX_BATCH, PIECE_IMAGES, Device, split
from benchmarks.scheduling.events import Loop
from benchmarks.scheduling.outcome import Tracker
from benchmarks.scheduling.workload import Request
from services.scheduler.granting import MIN_GRANT_IMAGES, OVERFILL, PARK_BELOW
from services.scheduler.waterfill import level

RESERVE: Final = 1.1
"""Batches take their predicted time and some noise."""


class Reference:
    """The omniscient policy."""

    def __init__(
        self,
        loop: Loop,
        devices: Sequence[Device],
        tracker: Tracker,
        *,
        refuses: bool,
        portions: bool,
    ) -> None:
        """`portions`: requests are cut anywhere, not into the pieces of production."""
        self._loop = loop
        self._devices = devices
        self._tracker = tracker
        self._refuses = refuses
        self._portions = portions
        self._queue: list[tuple[Request, int]] = []
        """By deadline: all requests have the same time."""
        self._queued = 0
        self._running: dict[str, list[tuple[Request, int]]] = {}

    def offer(self, request: Request) -> None:
        """A request arrives."""
        if self._refuses and self._level(self._queued + request.images) > request.deadline:
            self._tracker.refused(request)
            return
        size = request.images if self._portions else PIECE_IMAGES
        self._queue += [(request, images) for images in split(request.images, size)]
        self._queued += request.images
        self._fill()

    def died(self, device: Device) -> None:
        """A device died: what it ran is run again, first."""
        lost = self._running.pop(device.name, [])
        self._queue = sorted(lost + self._queue, key=lambda entry: entry[0].deadline)
        self._queued += sum(images for _, images in lost)
        self._fill()

    def _level(self, images: int) -> float:
        alive = [device for device in self._devices if not device.dead]
        start, slowness = self._columns(alive)
        limit = np.full(len(alive), float(MAX_BATCH))
        full = slowness * BASE.seconds(MAX_BATCH) / MAX_BATCH
        return level(start, slowness * BASE.c, limit, full, images).at

    def _columns(self, alive: Sequence[Device]) -> tuple[np.ndarray, np.ndarray]:
        now = self._loop.now
        slowness = np.array([device.slowness for device in alive])
        ends = np.array([max(device.ends, now) for device in alive])
        return ends + BASE.a * slowness, slowness

    def _fill(self) -> None:
        while self._queued:
            self._drop_late()
            idle = [
                device
                for device in self._devices
                if not device.dead and device.name not in self._running
            ]
            if not self._queued or not idle:
                return
            device = min(idle, key=lambda device: device.slowness)
            found = self._choose(device)
            if found is None:
                return
            self._start(device, *found)

    def _choose(self, device: Device) -> tuple[int, int] | None:
        """Return the place in the queue to take from and the images to take; None: none."""
        start, slowness = self._columns([device for device in self._devices if not device.dead])
        now, cost = self._loop.now, device.cost
        filled = (self._level(self._queued) - now - cost.a) / cost.c
        least = min(MIN_GRANT_IMAGES, self._queued)
        finish = start + slowness * BASE.c * least
        first = now + cost.seconds(least) <= finish.min() + 1e-9
        if filled < PARK_BELOW * least and not first:
            return None
        wanted = min(self._queued, MAX_BATCH, max(round(filled * OVERFILL), least))
        left = self._queue[0][0].deadline - now
        if left >= RESERVE * cost.seconds(wanted):
            return 0, wanted
        room = int((left / RESERVE - cost.a) / cost.c)
        if room >= max(wanted / 2, least):
            return 0, room
        for images in (wanted, max(wanted // 2, least)):
            due = now + RESERVE * cost.seconds(images)
            for at, (request, _) in enumerate(self._queue):
                if request.deadline >= due:
                    return at, images
        return (0, wanted) if first else None

    def _start(self, device: Device, at: int, images: int) -> None:
        batch: list[tuple[Request, int]] = []
        ran = 0
        while ran < images and at < len(self._queue):
            request, waiting = self._queue[at]
            taken = min(images - ran, waiting) if self._portions else waiting
            if batch and (ran + taken > MAX_BATCH or ran + taken / 2 > images):
                break
            del self._queue[at]
            batch.append((request, taken))
            ran += taken
            if taken < waiting:
                self._queue.insert(at, (request, waiting - taken))
        self._queued -= ran
        self._running[device.name] = batch
        device.run(ran, lambda _: self._done(device))

    def _done(self, device: Device) -> None:
        for request, images in self._running.pop(device.name):
            self._tracker.answered(request, images, self._loop.now)
        self._fill()

    def _drop_late(self) -> None:
        while self._queue and self._queue[0][0].deadline <= self._loop.now:
            self._queued -= self._queue.pop(0)[1]
