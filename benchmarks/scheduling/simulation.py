"""One scenario under one policy."""

import random
import zlib
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from benchmarks.scheduling.choosers import BY_NAME
from benchmarks.scheduling.cluster import Device, Network, Trouble, full_rate
from benchmarks.scheduling.direct import Direct
from benchmarks.scheduling.events import Loop
from benchmarks.scheduling.outcome import Outcome, Tracker
from benchmarks.scheduling.production import Production
from benchmarks.scheduling.reference import Reference
from benchmarks.scheduling.scenarios import Scenario
from benchmarks.scheduling.workload import Request, poisson, requests

PRODUCTION: Final = "pull + water-filling"
REFERENCE: Final = "reference"
PORTIONS: Final = "any portions"
OTHERS: Final = tuple(BY_NAME)
STALE_DISPATCHERS: Final = 4


class System(Protocol):
    """A policy with the cluster that it runs."""

    def offer(self, request: Request) -> None:
        """A request arrives."""

    def died(self, device: Device) -> None:
        """A device died just now."""


def arrivals(scenario: Scenario, load: float, seconds: float, seed: int) -> list[Request]:
    """The requests of a run, in the order of their arrival: the same for every policy."""
    rng = random.Random(f"{scenario.name} {seed}")
    capacity = sum(map(full_rate, scenario.slowness))
    streams = [(scenario.arrivals, load, "noisy" if scenario.quiet_load else "")]
    if scenario.quiet_load:
        streams.append((poisson, scenario.quiet_load, "quiet"))
    made: list[Request] = []
    for source, share, tenant in streams:
        made += requests(
            source(rng),
            images_per_s=share * capacity,
            seconds=seconds,
            slo_s=scenario.slo_s,
            rng=rng,
            tenant=tenant,
        )
    made.sort(key=lambda request: request.arrival)
    for number, request in enumerate(made):
        request.number = number
    return made


def simulate(
    scenario: Scenario,
    policy: str,
    *,
    load: float,
    seconds: float,
    seed: int = 1,
    delays: float = 1.0,
) -> Outcome:
    """Run a scenario for so many virtual seconds; messages take `delays` times their time."""
    loop = Loop()
    offered = arrivals(scenario, load, seconds, seed)
    tracker = Tracker(offered)
    devices = []
    for number, slowness in enumerate(scenario.slowness):
        rng = random.Random(zlib.crc32(f"{scenario.name} {seed} {number}".encode()))
        device = Device(f"s{number}", slowness, loop, rng)
        device.ran = tracker.ran
        devices.append(device)
    network = Network(random.Random(seed), report_s=scenario.stale_s, delays=delays)
    system = _system(policy, scenario, loop, devices, tracker, network)
    for request in offered:
        loop.at(request.arrival, system.offer, request)
    for trouble in scenario.troubles:
        loop.at(trouble.at * seconds, _strike, system, devices[trouble.device], trouble)
    loop.run(until=seconds + 1.0)
    return tracker.outcome(_capacity(scenario, seconds))


def _system(
    policy: str,
    scenario: Scenario,
    loop: Loop,
    devices: Sequence[Device],
    tracker: Tracker,
    network: Network,
) -> System:
    if policy == PRODUCTION:
        return Production(loop, devices, network, tracker)
    if policy == REFERENCE:
        return Reference(loop, devices, tracker, refuses=scenario.refuses, portions=False)
    if policy == PORTIONS:
        return Reference(loop, devices, tracker, refuses=scenario.refuses, portions=True)
    names = [device.name for device in devices]
    dispatchers = STALE_DISPATCHERS if scenario.stale_s else 1
    choosers = [BY_NAME[policy](names, network.rng) for _ in range(dispatchers)]
    return Direct(loop, devices, network, tracker, choosers, scenario.stale_s)


def _strike(system: System, device: Device, trouble: Trouble) -> None:
    device.slowness *= trouble.slower
    if trouble.dies:
        device.dead = True
        system.died(device)


def _capacity(scenario: Scenario, seconds: float) -> float:
    """Images that the cluster can run in full batches, whatever befalls it."""
    total = sum(map(full_rate, scenario.slowness))
    for trouble in scenario.troubles:
        rate = full_rate(scenario.slowness[trouble.device])
        lost = rate if trouble.dies else rate * (1 - 1 / trouble.slower)
        total -= lost * (1 - trouble.at)
    return total * seconds


def highest_load(meets: Callable[[float], bool], low: float = 0.1, high: float = 1.1) -> float:
    """Return the highest load that meets a bar, to within 0.01; `low` is taken for granted."""
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low
