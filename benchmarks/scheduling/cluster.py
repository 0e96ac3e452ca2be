"""Virtual devices and the network between processes."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from benchmarks.scheduling.events import Loop
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost, Ran

MODEL: Final = ModelKey("base", 1)
BASE: Final = Cost(0.004, 0.001)
"""Seconds a batch, and an image, on a device of speed 1."""
MAX_BATCH: Final = 32
NOISE: Final = 0.05
"""Standard deviation of a batch's time, relative."""
PIECE_IMAGES: Final = 8


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happens to a device; `at` is a share of the run."""

    device: int
    at: float
    slower: float = 1.0
    """It takes so many times as long from then on."""
    dies: bool = False


@dataclass(slots=True, eq=False)
class Device:
    """One accelerator: runs a batch at a time, t(b) = slowness x (a + c x b), with noise."""

    name: str
    slowness: float
    loop: Loop
    rng: random.Random
    dead: bool = False
    ends: float = 0.0
    """True end of the batch on the device; in the past when it idles."""
    ran: Callable[[int], None] = field(default=lambda images: None)

    @property
    def cost(self) -> Cost:
        """The true costs of the moment."""
        return Cost(BASE.a * self.slowness, BASE.c * self.slowness)

    def warm_up(self) -> tuple[Ran, ...]:
        """What measuring each batch size once shows."""
        return tuple(Ran(b, self._draw(b)) for b in (1, 2, 4, 8, 16, 32))

    def run(self, images: int, done: Callable[[float], None]) -> None:
        """Run a batch; `done` gets the seconds that it took, unless the device dies before."""
        seconds = self._draw(images)
        self.ends = self.loop.now + seconds
        self.ran(images)
        self.loop.at(self.ends, self._done, done, seconds)

    def _done(self, done: Callable[[float], None], seconds: float) -> None:
        if not self.dead:
            done(seconds)

    def _draw(self, images: int) -> float:
        return self.cost.seconds(images) * max(0.5, self.rng.gauss(1.0, NOISE))


SMALL_S: Final = 0.0003
IMAGE_S: Final = 0.00003


@dataclass(slots=True, eq=False)
class Network:
    """How long messages take: gRPC between hosts of one site.

    A small message takes SMALL_S and an exponential share of it again; tensors take that and
    IMAGE_S an image (150 KB at 40 Gbit/s); all of it `delays` times. Reports that only describe
    load may come later.
    """

    rng: random.Random
    report_s: float = 0.0
    delays: float = 1.0

    def small(self) -> float:
        """Seconds that a message without tensors takes."""
        return self.delays * SMALL_S * (1 + self.rng.expovariate(2.0))

    def tensors(self, images: int) -> float:
        """Seconds that so many images take."""
        return self.small() + self.delays * IMAGE_S * images

    def report(self) -> float:
        """Seconds until a report of load is known."""
        return self.small() + self.report_s


def full_rate(slowness: float) -> float:
    """Images a second of a device in full batches."""
    return MAX_BATCH / (slowness * BASE.seconds(MAX_BATCH))


def split(images: int, size: int) -> list[int]:
    """Cut a request into pieces of `size`, the last one smaller."""
    return [min(size, images - first) for first in range(0, images, size)]
