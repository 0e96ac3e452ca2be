"""One picture at a time through all services, less the same in one process.

MobileNetV2, one request in flight. The reference decodes and infers one picture after another on
one thread, with an engine of one thread, which is what a shard has. The difference is what the
way through the services costs a request that waits for nobody.
"""

from typing import Final

from benchmarks.chain import load_files, load_requests
from benchmarks.in_process import InProcessPlan
from benchmarks.measurement import Measurement
from benchmarks.models import PHOTOGRAPHS, photograph_repository
from benchmarks.pairs import spread
from benchmarks.report import (
    Options,
    cpu_lines,
    cpu_us_per_image,
    others_cores,
    read_options,
    report,
)
from benchmarks.tls import Compared, compare, tls_figures, tls_lines

PAIRS: Final = 7
"""More than elsewhere: a difference of two medians is small beside either."""


def measure(options: Options) -> Compared:
    """Run both sides and, if asked for, TLS."""
    models = photograph_repository()
    reference = InProcessPlan(models, PHOTOGRAPHS, load_files, threads=1, batch=1)
    return compare(reference, load_requests, 1, options.seconds, PAIRS, tls=options.tls)


def _p50(measurement: Measurement) -> float:
    return measurement.percentile_ms(50)


def _p99(measurement: Measurement) -> float:
    return measurement.percentile_ms(99)


def tell(options: Options, compared: Compared) -> None:
    """Print and write the figures."""
    pairs, tls = compared.pairs, compared.tls
    overhead_p50, overhead_p99 = pairs.difference(_p50), pairs.difference(_p99)
    p50, p99 = spread(pairs.ours, _p50), spread(pairs.ours, _p99)
    reference_p50, reference_p99 = spread(pairs.reference, _p50), spread(pairs.reference, _p99)
    costs = cpu_us_per_image(pairs.ours)
    reference_cost = sum(cpu_us_per_image(pairs.reference).values())
    overhead_cpu = sum(costs.values()) - reference_cost
    others = others_cores([*pairs.ours, *pairs.reference])
    report(
        options,
        "latency: JPEG in, labels out, MobileNetV2, one at a time",
        {
            "overhead at p50": overhead_p50.text(2, "ms"),
            "overhead at p99": overhead_p99.text(2, "ms"),
            "p50 through all services": p50.text(2, "ms"),
            "p99 through all services": p99.text(2, "ms"),
            "p50 in one process": reference_p50.text(2, "ms"),
            "p99 in one process": reference_p99.text(2, "ms"),
            **cpu_lines(costs, "an image"),
            "CPU of the reference": f"{reference_cost:,.0f} us an image",
            **(tls_lines(tls) if tls else {}),
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "overhead_p50_ms": overhead_p50.median,
            "overhead_p50_spread_ms": [overhead_p50.low, overhead_p50.high],
            "overhead_p99_ms": overhead_p99.median,
            "p50_ms": p50.median,
            "p99_ms": p99.median,
            "reference_p50_ms": reference_p50.median,
            "reference_p99_ms": reference_p99.median,
            "cpu_us_per_image": costs,
            "reference_cpu_us_per_image": reference_cost,
            "overhead_cpu_us_per_image": round(overhead_cpu, 1),
            "others_cores": others,
            "pairs": len(pairs.ours),
            **({"tls": tls_figures(tls)} if tls else {}),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options(
        "latency: what the way through all services costs", seconds=4.0, tls=True
    )
    tell(options, measure(options))


if __name__ == "__main__":
    main()
