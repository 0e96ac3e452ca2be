"""What it costs to trace requests: one cluster that does not, one of each share that does.

Requests are the smallest there are (28 x 28 CNN, one tensor each): what is paid a request weighs
most with them. Ids travel in all clusters. The reference is the cluster that is not traced.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Final

from benchmarks.clusters import cluster
from benchmarks.load import ClosedLoop, LoadPlan
from benchmarks.measurement import Measurement
from benchmarks.models import digits_repository
from benchmarks.pairs import Pairs, measure_rounds, spread
from benchmarks.report import Options, cpu_us_per_image, others_cores, read_options, report
from benchmarks.small import CALLERS, load_tensors
from benchmarks.span_sink import span_sink
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT

SHARES: Final = {"none": None, "1 %": 0.01, "all": 1.0}
"""Requests that are traced; None: traces are switched off."""
REFERENCE: Final = "none"
INSTANCES: Final = {"inference": 1}
"""There are several clusters at a time."""


def measure(seconds: float) -> dict[str, Sequence[Measurement]]:
    """Return what was measured of each share, in rounds in which each has its turn."""
    models = digits_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    with ExitStack() as stack:
        url = stack.enter_context(span_sink())
        clusters = [
            stack.enter_context(cluster(models, INSTANCES, _settings(url, share)))
            for share in SHARES.values()
        ]
        sides = []
        for running in clusters:
            plan = LoadPlan(running.gateway, load_tensors, 1, CALLERS, running.pids)
            sides.append(stack.enter_context(worker(partial(ClosedLoop, plan))).run)
        measured = measure_rounds(sides, seconds)
        if deaths := [death for running in clusters for death in running.deaths]:
            raise RuntimeError(f"processes died: {deaths}")
    return dict(zip(SHARES, measured, strict=True))


def _settings(url: str, share: float | None) -> dict[str, str]:
    return {} if share is None else {"FACET_TRACES": url, "FACET_TRACES_RATIO": str(share)}


def _rate(measurement: Measurement) -> float:
    return measurement.images_per_s


def _cpu_us(measurements: Sequence[Measurement]) -> dict[str, float]:
    """Of the services a request, without the client."""
    costs = cpu_us_per_image(measurements)
    return {name: cost for name, cost in costs.items() if name != "client"}


def tell(options: Options, measured: dict[str, Sequence[Measurement]]) -> None:
    """Print and write the figures."""
    lines: dict[str, str] = {}
    figures: dict[str, object] = {}
    reference = measured[REFERENCE]
    reference_us = sum(_cpu_us(reference).values())
    for name in [name for name in SHARES if name != REFERENCE]:
        ratio = Pairs(measured[name], reference).ratio(_rate)
        lines[f"{name} traced: ratio"] = ratio.text(3)
    for name, measurements in measured.items():
        rate, costs = spread(measurements, _rate), _cpu_us(measurements)
        more = sum(costs.values()) - reference_us
        lines[f"{name} traced: requests"] = rate.text(0, "a second")
        lines[f"{name} traced: CPU of the services"] = (
            f"{sum(costs.values()):,.0f} us a request, {more:+,.0f}"
        )
        figures[name] = {
            "ratio": Pairs(measurements, reference).ratio(_rate).median,
            "req_per_s": rate.median,
            "cpu_us_per_request": costs,
            "more_cpu_us": round(more, 1),
        }
    others = others_cores([each for side in measured.values() for each in side])
    lines["other work on the machine"] = f"{others:.2f} cores"
    shares = {"shares": figures, "others_cores": others, "rounds": len(reference)}
    ratio_of_all = Pairs(measured["all"], reference).ratio(_rate).median
    report(options, "tracing: small requests", lines, {"ratio": ratio_of_all, **shares})


def main() -> None:
    """Measure and tell."""
    options = read_options("tracing: what it costs to trace requests", seconds=3.0)
    tell(options, measure(options.seconds))


if __name__ == "__main__":
    main()
