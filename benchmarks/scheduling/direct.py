"""What load balancers do: each dispatcher sends at once, and work queues at the devices.

A device that falls idle batches what lies in its queue, up to the maximum batch; what its callers
gave up is left out. A device reports its load with each answer; where the view is stale
(`every_s`), only that often, and a dispatcher learns no sooner what the others sent.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.scheduling.choosers import Chooser, Report
from benchmarks.scheduling.cluster import MAX_BATCH, Device, Network, split
from benchmarks.scheduling.events import Loop
from benchmarks.scheduling.outcome import Tracker
from benchmarks.scheduling.workload import Request
from services.common.scheduling.costs import CostModel, Ran, prior

DEATH_NOTICED_S: Final = 0.02


@dataclass(slots=True, eq=False)
class _Send:
    request: Request
    images: int
    chooser: Chooser
    token: int = 0


@dataclass(slots=True, eq=False)
class _Server:
    device: Device
    costs: CostModel
    queue: deque[_Send] = field(default_factory=deque)
    running: list[_Send] = field(default_factory=list)
    predicted_end: float = 0.0
    reports: int = 0

    def report(self, now: float) -> Report:
        self.reports += 1
        images = sum(send.images for send in self.queue)
        remaining = max(0.0, self.predicted_end - now) if self.running else 0.0
        return Report(
            sequence=self.reports,
            remaining_s=remaining + (self.costs.cost.seconds(images) if images else 0.0),
            cost=self.costs.cost,
            requests=len(self.queue) + len(self.running),
            images=images + sum(send.images for send in self.running),
        )


class Direct:
    """Dispatchers that choose by themselves, and the devices' queues."""

    def __init__(
        self,
        loop: Loop,
        devices: Sequence[Device],
        network: Network,
        tracker: Tracker,
        choosers: Sequence[Chooser],
        every_s: float,
    ) -> None:
        self._loop = loop
        self._network = network
        self._tracker = tracker
        self._choosers = choosers
        self._every_s = every_s
        self._servers = {
            device.name: _Server(device, CostModel(prior(device.warm_up()))) for device in devices
        }
        for name, server in self._servers.items():
            for chooser in choosers:
                chooser.reported(name, server.report(0.0), 0.0)
        if every_s:
            loop.after(every_s, self._tell_all)

    def offer(self, request: Request) -> None:
        """A request arrives at one of the dispatchers."""
        chooser = self._choosers[request.number % len(self._choosers)]
        for images in split(request.images, chooser.piece_images):
            self._send(_Send(request, images, chooser))

    def died(self, device: Device) -> None:
        """A device died with its process: what it had is sent elsewhere once that is noticed."""
        self._loop.after(DEATH_NOTICED_S, self._left, device.name)

    def _send(self, send: _Send) -> None:
        name, send.token = send.chooser.choose(send.images, self._loop.now)
        self._loop.after(self._network.tensors(send.images), self._arrived, name, send)

    def _arrived(self, name: str, send: _Send) -> None:
        server = self._servers.get(name)
        if server is None:
            self._send(send)
            return
        server.queue.append(send)
        self._next(server)

    def _next(self, server: _Server) -> None:
        if server.running or server.device.dead:
            return
        images = 0
        now = self._loop.now
        while server.queue and images + server.queue[0].images <= MAX_BATCH:
            send = server.queue.popleft()
            if send.request.deadline > now:
                images += send.images
                server.running.append(send)
        if images:
            server.predicted_end = now + server.costs.cost.seconds(images)
            server.device.run(images, partial(self._done, server, images))

    def _done(self, server: _Server, images: int, seconds: float) -> None:
        server.costs.observe(Ran(images, seconds))
        done, server.running = server.running, []
        self._next(server)
        self._loop.after(self._network.small(), self._answered, server.device.name, done)
        if not self._every_s:
            self._tell(server.device.name)

    def _answered(self, name: str, sends: Sequence[_Send]) -> None:
        for send in sends:
            send.chooser.answered(name, send.token)
            self._tracker.answered(send.request, send.images, self._loop.now)

    def _left(self, name: str) -> None:
        server = self._servers.pop(name)
        for chooser in self._choosers:
            chooser.left(name)
        for send in (*server.running, *server.queue):
            self._send(send)

    def _tell_all(self) -> None:
        for name in self._servers:
            self._tell(name)
        self._loop.after(self._every_s, self._tell_all)

    def _tell(self, name: str) -> None:
        report = self._servers[name].report(self._loop.now)
        for chooser in self._choosers:
            self._loop.after(self._network.report(), self._reported, chooser, name, report)

    def _reported(self, chooser: Chooser, name: str, report: Report) -> None:
        if name in self._servers:
            chooser.reported(name, report, self._loop.now)
