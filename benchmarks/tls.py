"""TLS beside plain text: the same load on a second cluster, whose links and door are all TLS.

Both clusters run all the time, and have their turns in the same rounds; the one that is not asked
does next to nothing.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.clusters import Cluster, cluster
from benchmarks.in_process import InProcess, InProcessPlan
from benchmarks.load import ClosedLoop
from benchmarks.measurement import Measurement
from benchmarks.pairs import PAIRS, Pairs, measure_rounds, spread
from benchmarks.report import cpu_us_per_image
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT

PLAIN: Final = "plain"
TLS: Final = "tls"


@dataclass(frozen=True, slots=True)
class Compared:
    """What `compare` has measured."""

    pairs: Pairs
    """All services in plain text, and their reference."""
    tls: Pairs | None
    """All services with TLS, and in plain text; None: not asked for."""


@contextmanager
def plain_and_tls(models: Path, *, tls: bool) -> Iterator[dict[str, Cluster]]:
    """Run a cluster, PLAIN, and with `tls` another one, TLS, all of whose links and door are that.

    RuntimeError at the end if processes of theirs died.
    """
    with ExitStack() as stack:
        running = {PLAIN: stack.enter_context(cluster(models))}
        if tls:
            running[TLS] = stack.enter_context(cluster(models, tls=True))
        yield running
        if deaths := [death for each in running.values() for death in each.deaths]:
            raise RuntimeError(f"processes died: {deaths}")


def compare(
    reference: InProcessPlan,
    requests: Callable[[], Sequence[bytes]],
    callers: int,
    seconds: float,
    rounds: int = PAIRS,
    *,
    tls: bool,
) -> Compared:
    """Measure requests of one picture through all services, and the reference on the same models.

    `callers` requests are in flight at a time; `seconds` is the time of each measurement.
    """
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    with plain_and_tls(reference.models, tls=tls) as running, ExitStack() as stack:
        plans = [each.load_plan(requests, 1, callers) for each in running.values()]
        clients = [stack.enter_context(worker(partial(ClosedLoop, plan))) for plan in plans]
        in_process = stack.enter_context(worker(partial(InProcess, reference)))
        sides = [client.run for client in clients]
        sides.insert(1, in_process.run)
        plain, measured, *secured = measure_rounds(sides, seconds, rounds)
    return Compared(Pairs(plain, measured), Pairs(secured[0], plain) if secured else None)


def _rate(measurement: Measurement) -> float:
    return measurement.images_per_s


def _p50(measurement: Measurement) -> float:
    return measurement.percentile_ms(50)


def _p99(measurement: Measurement) -> float:
    return measurement.percentile_ms(99)


def _cpu_us(measurements: Sequence[Measurement]) -> float:
    return sum(cpu_us_per_image(measurements).values())


def tls_lines(pairs: Pairs) -> dict[str, str]:
    """Lines of the table for what TLS costs, beside plain text."""
    more = _cpu_us(pairs.ours) - _cpu_us(pairs.reference)
    return {
        "TLS: ratio to plain text": pairs.ratio(_rate).text(3),
        "TLS: all services": spread(pairs.ours, _rate).text(1, "img/s"),
        "TLS: p50": spread(pairs.ours, _p50).text(2, "ms"),
        "TLS: more at p50": pairs.difference(_p50).text(2, "ms"),
        "TLS: CPU in all": f"{_cpu_us(pairs.ours):,.0f} us an image, {more:+,.0f}",
    }


def tls_figures(pairs: Pairs) -> dict[str, object]:
    """The same for the JSON file. `ratio` is that of images a second, TLS / plain text."""
    ratio, more = pairs.ratio(_rate), pairs.difference(_p50)
    return {
        "ratio": ratio.median,
        "ratio_spread": [ratio.low, ratio.high],
        "img_per_s": spread(pairs.ours, _rate).median,
        "p50_ms": spread(pairs.ours, _p50).median,
        "p99_ms": spread(pairs.ours, _p99).median,
        "more_p50_ms": more.median,
        "more_p50_spread_ms": [more.low, more.high],
        "cpu_us_per_image": cpu_us_per_image(pairs.ours),
        "cpu_ratio": round(_cpu_us(pairs.reference) / _cpu_us(pairs.ours), 4),
    }
