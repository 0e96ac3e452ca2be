"""Real processes under load: a shard killed, frozen, slowed; and twice the load that fits.

MobileNetV2 on two shards, one picture a request. While callers keep asking, a fault strikes one
shard. Lost: requests that failed or came back wrong. Recovery: the longest that any caller waited
once the fault had struck; the longest wait just before stands beside it, since a part of every
wait is ordinary queueing.

Overload: capacity is measured with callers that wait for their answers; right after, requests
arrive at twice that rate with a deadline of one second, whatever comes back. Useful: answers
within the deadline, as a share of the capacity.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from benchmarks.chain import load_requests
from benchmarks.clusters import Cluster, cluster
from benchmarks.injuries import frozen, killed, slowed
from benchmarks.measurement import OthersMeter
from benchmarks.models import photograph_repository
from benchmarks.pairs import PAIRS, Spread
from benchmarks.recorded_load import OK, Order, Record, RecordedLoad
from benchmarks.report import Options, read_options, report
from benchmarks.workers import Worker, worker

CALLERS: Final = 16
CAPACITY_CALLERS: Final = 32
PATIENCE_S: Final = 20.0
"""The deadline of requests that no overload hurries."""
DEADLINE_S: Final = 1.0
"""The deadline under overload."""
TIMES: Final = 2.0
SETTLE_S: Final = 1.5
"""The load's first seconds, which do not count: queues fill up to what the deadline admits."""
REFUSED: Final = "RESOURCE_EXHAUSTED"
LATE: Final = "DEADLINE_EXCEEDED"

Injury: TypeAlias = Callable[[Cluster], AbstractContextManager[None]]
Client: TypeAlias = Worker[Order, list[Record]]

INJURIES: Final[Mapping[str, Injury]] = MappingProxyType(
    {"killed": killed, "frozen": frozen, "slowed": slowed}
)


@dataclass(frozen=True, slots=True)
class Struck:
    """One fault."""

    lost: Counter[str]
    """How requests failed, and how many did."""
    recovery_s: float
    quiet_s: float
    """The longest wait before the fault."""
    rate_share: float
    """Answers a second after the fault, as a share of those before it."""


@dataclass(frozen=True, slots=True)
class Overload:
    """One overload."""

    capacity_per_s: float
    useful_share: float
    refused_share: float
    """Of what ended in the window."""
    late_share: float
    lost: Counter[str]
    p99_ms: float
    """Of the useful answers."""


def strike(running: Cluster, client: Client, injury: Injury, seconds: float) -> Struck:
    """Let a fault strike in the middle of a load that goes on for so many seconds after it."""
    before_s = SETTLE_S + seconds / 2
    began = time.perf_counter()
    client.start(Order(before_s + seconds, PATIENCE_S, callers=CALLERS))
    time.sleep(before_s)
    struck = time.perf_counter()
    with injury(running):
        records = client.result()
    settled = began + SETTLE_S
    before = [each for each in records if settled <= each.ended < struck]
    after = [each for each in records if each.ended >= struck]
    during = [each for each in after if each.ended < struck + seconds]
    return Struck(
        lost=Counter(each.outcome for each in records if each.outcome != OK),
        recovery_s=max(each.ended - max(each.sent, struck) for each in after),
        quiet_s=max((each.latency_s for each in before), default=0.0),
        rate_share=(len(during) / seconds) / max(1e-9, len(before) / (struck - settled)),
    )


def overload(client: Client, seconds: float) -> Overload:
    """Measure the capacity, and then send twice as much."""

    def counted(order: Order) -> list[Record]:
        started = time.perf_counter() + SETTLE_S
        return [each for each in client.run(order) if started <= each.ended < started + seconds]

    full = counted(Order(SETTLE_S + seconds, PATIENCE_S, callers=CAPACITY_CALLERS))
    capacity_per_s = sum(each.outcome == OK for each in full) / seconds
    sent_per_s = TIMES * capacity_per_s
    ended = counted(Order(SETTLE_S + seconds, DEADLINE_S, per_s=sent_per_s))
    useful = [each for each in ended if each.outcome == OK and each.latency_s <= DEADLINE_S]
    outcomes = Counter(each.outcome for each in ended)
    answered_late = outcomes.pop(OK, 0) - len(useful)
    late, refused = outcomes.pop(LATE, 0) + answered_late, outcomes.pop(REFUSED, 0)
    return Overload(
        capacity_per_s=capacity_per_s,
        useful_share=len(useful) / seconds / capacity_per_s,
        refused_share=refused / len(ended),
        late_share=late / len(ended),
        lost=outcomes,
        p99_ms=1e3 * float(np.percentile([each.latency_s for each in useful], 99)),
    )


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured."""

    struck: Mapping[str, Sequence[Struck]]
    """By what was done to the shard."""
    overloads: Sequence[Overload]
    others_cores: float

    @property
    def lost(self) -> Counter[str]:
        """How requests failed in all parts, and how many did."""
        every = [each.lost for times in self.struck.values() for each in times]
        return sum([*every, *(each.lost for each in self.overloads)], Counter())


def measure(seconds: float) -> Results:
    """Let every fault strike in turn, several times, with an overload in between."""
    meter = OthersMeter()
    struck: dict[str, list[Struck]] = {name: [] for name in INJURIES}
    overloads = []
    with (
        cluster(photograph_repository()) as running,
        worker(partial(RecordedLoad, running.gateway, load_requests)) as client,
    ):
        client.run(Order(SETTLE_S, PATIENCE_S, callers=CALLERS))
        for _ in range(PAIRS):
            overloads.append(overload(client, seconds))
            for name, injury in INJURIES.items():
                struck[name].append(strike(running, client, injury, seconds))
        others = meter.cores()
        unexpected = [each for each in running.deaths if each.reason != "killed by SIGKILL"]
    if unexpected:
        raise RuntimeError(f"processes died: {unexpected}")
    return Results(struck, overloads, others)


def tell(options: Options, results: Results) -> None:
    """Print and write the figures."""
    lost = results.lost
    useful = Spread.of([each.useful_share for each in results.overloads])
    lines = {"lost": ", ".join(f"{n} {name}" for name, n in lost.items()) or "0"}
    figures: dict[str, object] = {}
    recovery_s = []
    for name, times in results.struck.items():
        recovery = Spread.of([each.recovery_s for each in times])
        quiet = Spread.of([each.quiet_s for each in times])
        rate = Spread.of([each.rate_share for each in times])
        recovery_s.append(recovery.median)
        lines |= {
            f"{name}: recovery": recovery.text(2, "s"),
            f"{name}: longest wait before": quiet.text(2, "s"),
            f"{name}: rate after / before": rate.text(2),
        }
        figures[name] = {
            "lost": sum(each.lost.total() for each in times),
            "recovery_s": recovery.median,
            "recovery_spread_s": [recovery.low, recovery.high],
            "longest_before_s": quiet.median,
            "rate_share": rate.median,
        }
    told = {
        "capacity": Spread.of([each.capacity_per_s for each in results.overloads]),
        "refused": Spread.of([each.refused_share for each in results.overloads]),
        "late": Spread.of([each.late_share for each in results.overloads]),
        "p99": Spread.of([each.p99_ms for each in results.overloads]),
    }
    lines |= {
        f"useful at {TIMES:g} times the capacity": useful.text(3),
        "capacity": told["capacity"].text(1, "img/s"),
        "refused, of all": told["refused"].text(2),
        "too late, of all": told["late"].text(3),
        "p99 of the useful answers": told["p99"].text(0, "ms"),
        "other work on the machine": f"{results.others_cores:.2f} cores",
    }
    report(
        options,
        "faults: a shard killed, frozen, slowed; overload",
        lines,
        {
            "lost": lost.total(),
            "lost_as": dict(lost),
            "recovery_s": max(recovery_s),
            "overload_useful_share": useful.median,
            "overload_useful_spread": [useful.low, useful.high],
            "overload_capacity_img_per_s": told["capacity"].median,
            "overload_refused_share": told["refused"].median,
            "overload_late_share": told["late"].median,
            "overload_p99_ms": told["p99"].median,
            **figures,
            "others_cores": results.others_cores,
            "rounds": len(results.overloads),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("faults: what is lost, and for how long", seconds=4.0)
    tell(options, measure(options.seconds))


if __name__ == "__main__":
    main()
