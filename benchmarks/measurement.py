"""One measurement: what was done between two moments, and what it cost."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import psutil

WARM_S: Final = 0.5
"""Work before the first moment, at most: caches fill and queues settle."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one side did in one window."""

    seconds: float
    requests: int
    images: int
    latencies_ms: Sequence[float] = ()
    """One a request."""
    cpu_s: Mapping[str, float] = field(default_factory=dict)
    """Processor time that each process took in the window: its name → seconds."""
    others_cores: float = 0.0
    """Cores that processes outside the benchmark kept busy meanwhile."""
    settings: Mapping[str, int] = field(default_factory=dict)
    """What the runner chose by itself."""

    @property
    def images_per_s(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def requests_per_s(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """The latency that so many per cent of the requests did not exceed."""
        return float(np.percentile(self.latencies_ms, percent))

    def cpu_us_per_image(self) -> dict[str, float]:
        """Processor time of each process, in microseconds an image."""
        return {name: 1e6 * seconds / self.images for name, seconds in self.cpu_s.items()}


class Window:
    """Counts what ends while it is open. Used by one thread, or by several that hold the GIL."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        """`pids`: name → id of the processes whose processor time counts."""
        self._processes = {name: psutil.Process(pid) for name, pid in pids.items()}
        self._open = False
        self._done: list[tuple[int, float]] = []
        self._opened = 0.0
        self._cpu: dict[str, float] = {}
        self._busy = 0.0

    def open(self) -> None:
        """Begin to count."""
        self._cpu, self._busy = self._cpu_now(), busy_s()
        self._opened = time.perf_counter()
        self._open = True

    def done(self, images: int, started: float) -> None:
        """Note a request that was sent at `started` (of `time.perf_counter`)."""
        if self._open:
            self._done.append((images, time.perf_counter() - started))

    def close(self) -> Measurement:
        """Stop counting; return what was counted."""
        self._open = False
        seconds = time.perf_counter() - self._opened
        cpu, busy = self._cpu_now(), busy_s() - self._busy
        spent = {name: cpu[name] - self._cpu[name] for name in cpu}
        return Measurement(
            seconds=seconds,
            requests=len(self._done),
            images=sum(images for images, _ in self._done),
            latencies_ms=[1e3 * latency for _, latency in self._done],
            cpu_s=spent,
            others_cores=max(0.0, busy - sum(spent.values())) / seconds,
        )

    def _cpu_now(self) -> dict[str, float]:
        return {
            name: times.user + times.system
            for name, process in self._processes.items()
            for times in (process.cpu_times(),)
        }


class OthersMeter:
    """Cores that others kept busy since it was made: all but this process and its descendants.

    For benchmarks whose processes come and go; the processor time of ended ones counts.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._busy = busy_s() - _family_s()

    def cores(self) -> float:
        """Return the average up to now."""
        seconds = time.perf_counter() - self._started
        return round(max(0.0, busy_s() - _family_s() - self._busy) / seconds, 2)


def _family_s() -> float:
    parent = psutil.Process()
    total = 0.0
    for process in (parent, *parent.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            # Of the ended children as well: user, system, children's user, children's system.
            total += sum(process.cpu_times()[:4])
    return total


def busy_s() -> float:
    """Seconds that all cores together have been busy since the machine started."""
    times = psutil.cpu_times()
    return sum(times) - times.idle - times.iowait - times.guest - times.guest_nice


def warm_s(seconds: float) -> float:
    """How long to work before a window of so many seconds."""
    return min(WARM_S, seconds / 2)
