"""Which device a dispatcher sends to: the policies that the production one is compared with."""

import itertools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from benchmarks.scheduling.cluster import MAX_BATCH, MODEL, PIECE_IMAGES
from services.common.scheduling.costs import Cost
from services.common.scheduling.placement import LoadReport, Placement

FLIGHT_S: Final = 0.002


@dataclass(frozen=True, slots=True)
class Report:
    """What a device says of its load."""

    sequence: int
    remaining_s: float
    cost: Cost
    requests: int
    images: int


class Chooser(Protocol):
    """One dispatcher's policy."""

    piece_images: int
    """Requests are cut to this size."""

    def choose(self, images: int, now: float) -> tuple[str, int]:
        """Return the device to send to, and a token for `answered`."""

    def answered(self, device: str, token: int) -> None:
        """The device answered that send."""

    def reported(self, device: str, report: Report, now: float) -> None:
        """A device reported its load."""

    def left(self, device: str) -> None:
        """The device is gone."""


class RoundRobin:
    """One after the other, whatever they do."""

    piece_images = MAX_BATCH

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = list(devices)
        self._next = itertools.count()

    def choose(self, images: int, now: float) -> tuple[str, int]:
        """Return the next device."""
        return self._devices[next(self._next) % len(self._devices)], 0

    def answered(self, device: str, token: int) -> None:
        """Nothing is remembered."""

    def reported(self, device: str, report: Report, now: float) -> None:
        """Load is not looked at."""

    def left(self, device: str) -> None:
        """Leave the device out from now on."""
        self._devices.remove(device)


class _Counting:
    """Counts what is outstanding: all own sends, and of the others' what a report showed."""

    piece_images = MAX_BATCH

    def __init__(self, devices: Sequence[str], *, by_images: bool) -> None:
        self.devices = list(devices)
        self._by_images = by_images
        self._own = dict.fromkeys(devices, 0)
        self._others = dict.fromkeys(devices, 0)

    def outstanding(self, device: str) -> int:
        return self._own[device] + self._others[device]

    def sent(self, device: str, images: int) -> tuple[str, int]:
        weight = images if self._by_images else 1
        self._own[device] += weight
        return device, weight

    def answered(self, device: str, token: int) -> None:
        """Count a send no longer."""
        self._own[device] -= token

    def reported(self, device: str, report: Report, now: float) -> None:
        """Count what the others have at the device."""
        total = report.images if self._by_images else report.requests
        self._others[device] = max(0, total - self._own[device])

    def left(self, device: str) -> None:
        """Leave the device out from now on."""
        self.devices.remove(device)


class PowerOfTwo(_Counting):
    """The one with fewer requests outstanding of two taken at random (Mitzenmacher, 2001)."""

    def __init__(self, devices: Sequence[str], rng: random.Random) -> None:
        super().__init__(devices, by_images=False)
        self._rng = rng

    def choose(self, images: int, now: float) -> tuple[str, int]:
        """Return the less loaded of two."""
        pair = self._rng.sample(self.devices, min(2, len(self.devices)))
        return self.sent(min(pair, key=self.outstanding), images)


class FewestImages(_Counting):
    """The one with the fewest images outstanding; equals take turns at random."""

    def __init__(self, devices: Sequence[str], rng: random.Random) -> None:
        super().__init__(devices, by_images=True)
        self._rng = rng

    def choose(self, images: int, now: float) -> tuple[str, int]:
        """Return the least loaded one."""
        least = min(map(self.outstanding, self.devices))
        ties = [device for device in self.devices if self.outstanding(device) == least]
        return self.sent(self._rng.choice(ties), images)


class PredictedFinish:
    """The one that will finish the piece first: the dispatcher's fallback in production."""

    piece_images = PIECE_IMAGES

    def __init__(self) -> None:
        self._placement = Placement(FLIGHT_S)

    def choose(self, images: int, now: float) -> tuple[str, int]:
        """Return the shard that `Placement` names."""
        placed = self._placement.place(MODEL, images, now)
        if placed is None:
            raise LookupError("no device is left")
        return placed

    def answered(self, device: str, token: int) -> None:
        """Tell the placement."""
        self._placement.answered(device, token)

    def reported(self, device: str, report: Report, now: float) -> None:
        """Tell the placement."""
        load = LoadReport(report.sequence, report.remaining_s, {MODEL: report.cost})
        self._placement.reported(device, load, now)

    def left(self, device: str) -> None:
        """Tell the placement."""
        self._placement.left(device)


Maker = Callable[[Sequence[str], random.Random], Chooser]

BY_NAME: Final[dict[str, Maker]] = {
    "round robin": lambda devices, rng: RoundRobin(devices),
    "power of two": PowerOfTwo,
    "fewest images": FewestImages,
    "predicted finish": lambda devices, rng: PredictedFinish(),
}
