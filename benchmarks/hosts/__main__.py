"""A cluster on three hosts whose network fails: what is lost, and how soon it is as it was.

MobileNetV2, real photographs, one a request, callers that ask again when they have their answer.
Hosts are namespaces of this machine and share its cores, so that only shares mean something: the
rate while a fault lasts as a share of the rate just before. The client never tries again, so what
it counts as lost is what the cluster did not answer inside the deadline.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.chain import load_requests
from benchmarks.hosts.cluster import HostCluster, host_cluster
from benchmarks.hosts.faults import FAULTS, Fault
from benchmarks.hosts.figures import Told, tell
from benchmarks.hosts.network import missing
from benchmarks.measurement import OthersMeter
from benchmarks.models import photograph_repository
from benchmarks.recorded_load import Order, Record, RecordedLoad
from benchmarks.report import Options, read_options, report
from benchmarks.workers import Worker, worker
from tests.tools import find_tool

CALLERS: Final = 16
PATIENCE_S: Final = 30.0
"""The deadline of each request: what one without a deadline gets."""
SETTLE_S: Final = 1.5
"""The load's first seconds, which do not count."""

Client = Worker[Order, list[Record]]


def needed() -> Path:
    """Return the Consul binary; exits where something is missing that hosts need."""
    if lack := missing():
        sys.exit(f"hosts of their own cannot be made: {lack}")
    binary = find_tool("consul")
    if binary is None:
        sys.exit("there is no consul binary; `make consul` builds one")
    return binary


def strike(cluster: HostCluster, client: Client, fault: Fault, seconds: float) -> Told:
    """Let a fault last as long as the load is watched before it, and twice as long after it."""
    cluster.wait_whole()
    injury = fault(cluster)
    began = time.perf_counter() + SETTLE_S
    client.start(Order(SETTLE_S + 4 * seconds, PATIENCE_S, callers=CALLERS))
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    struck = time.perf_counter()
    with injury:
        time.sleep(seconds)
    mended = time.perf_counter()
    return tell(client.result(), began, struck, mended)


def measure(binary: Path, seconds: float) -> tuple[dict[str, Told], float]:
    """Let every fault strike in turn; also return how many cores other work took."""
    meter = OthersMeter()
    with (
        host_cluster(binary, photograph_repository()) as cluster,
        worker(partial(RecordedLoad, cluster.gateway, load_requests)) as client,
    ):
        client.run(Order(SETTLE_S, PATIENCE_S, callers=CALLERS))
        told = {name: strike(cluster, client, fault, seconds) for name, fault in FAULTS.items()}
        cluster.wait_whole()
        return told, meter.cores()


def print_all(options: Options, told: Mapping[str, Told], others: float) -> None:
    """Print and write the figures."""
    lost = {name: each.lost for name, each in told.items() if each.lost}
    lines = {
        "rate during / before": ", ".join(f"{name} {t.ratio:.2f}" for name, t in told.items()),
        "lost": "; ".join(f"{name}: {dict(counted)}" for name, counted in lost.items()) or "0",
    }
    for name, each in told.items():
        for phase in ("before", "during", "after"):
            lines[f"{name}: {phase}"] = _phase(each, phase)
        recovery = "not in time" if each.recovery_s is None else f"{each.recovery_s:.1f} s"
        lines[f"{name}: recovery"] = f"{recovery}; longest standstill {each.standstill_s:.1f} s"
    lines["other work on the machine"] = f"{others:.2f} cores"
    recoveries = [each.recovery_s for each in told.values() if each.recovery_s is not None]
    figures = {
        "ratio": {name: each.ratio for name, each in told.items()},
        "lost": sum(each.lost.total() for each in told.values()),
        "recovery_s": max(recoveries) if len(recoveries) == len(told) else None,
        "scenarios": [{"name": name, **asdict(each)} for name, each in told.items()],
        "others_cores": others,
    }
    report(options, "hosts: three of them, and networks that fail", lines, figures)


def _phase(told: Told, name: str) -> str:
    phase = getattr(told, name)
    if phase.p50_ms is None:
        return "no answer"
    return f"{phase.per_s:.1f} img/s, p50 {phase.p50_ms:.0f} ms, p99 {phase.p99_ms:.0f} ms"


def main() -> None:
    """Measure and tell."""
    options = read_options("hosts: what a network that fails costs", seconds=12.0)
    binary = needed()
    print_all(options, *measure(binary, options.seconds))


if __name__ == "__main__":
    main()
