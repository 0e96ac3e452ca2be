"""JPEG in, labels out through all services, against decode + infer in one process.

MobileNetV2, one picture a request, 32 requests at a time; the client runs on the same cores and
counts. The reference decodes and infers on as many threads of one process as the shards have
threads, with the same engine and pictures (benchmarks/in_process.py).
"""

from typing import Final

from benchmarks.clusters import SHARDS
from benchmarks.in_process import InProcessPlan
from benchmarks.measurement import Measurement
from benchmarks.models import PHOTOGRAPHS, photograph_repository, test_data
from benchmarks.pairs import spread
from benchmarks.report import (
    Options,
    cpu_lines,
    cpu_us_per_image,
    others_cores,
    read_options,
    report,
)
from benchmarks.requests import photographs, picture_requests
from benchmarks.tls import Compared, compare, tls_figures, tls_lines

CALLERS: Final = 32


def load_requests() -> list[bytes]:
    """One request a photograph."""
    return picture_requests(PHOTOGRAPHS, photographs(test_data()))


def load_files() -> list[bytes]:
    """The same photographs as files."""
    return photographs(test_data())


def measure(options: Options) -> Compared:
    """Run both sides and, if asked for, TLS."""
    models = photograph_repository()
    reference = InProcessPlan(models, PHOTOGRAPHS, load_files, threads=SHARDS)
    return compare(reference, load_requests, CALLERS, options.seconds, tls=options.tls)


def tell(options: Options, compared: Compared) -> None:
    """Print and write the figures."""
    pairs, tls = compared.pairs, compared.tls

    def rate(measurement: Measurement) -> float:
        return measurement.images_per_s

    ratio = pairs.ratio(rate)
    ours, reference = spread(pairs.ours, rate), spread(pairs.reference, rate)
    costs = cpu_us_per_image(pairs.ours)
    reference_cost = cpu_us_per_image(pairs.reference)
    cpu_ratio = sum(reference_cost.values()) / sum(costs.values())
    others = others_cores([*pairs.ours, *pairs.reference])
    batch = pairs.reference[0].settings["batch"]
    p50 = spread(pairs.ours, lambda each: each.percentile_ms(50))
    p99 = spread(pairs.ours, lambda each: each.percentile_ms(99))
    report(
        options,
        "chain: JPEG in, labels out, MobileNetV2, 32 at a time",
        {
            "ratio": ratio.text(3),
            "through all services": ours.text(1, "img/s"),
            f"one process, {SHARDS} threads, batches of {batch}": reference.text(1, "img/s"),
            "p50": p50.text(0, "ms"),
            "p99": p99.text(0, "ms"),
            **cpu_lines(costs, "an image"),
            "CPU of the reference": f"{sum(reference_cost.values()):,.0f} us an image",
            "ratio of the CPU times": f"{cpu_ratio:.3f}",
            **(tls_lines(tls) if tls else {}),
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "ratio": ratio.median,
            "ratio_spread": [ratio.low, ratio.high],
            "img_per_s": ours.median,
            "reference_img_per_s": reference.median,
            "p50_ms": p50.median,
            "p99_ms": p99.median,
            "cpu_us_per_image": costs,
            "reference_cpu_us_per_image": sum(reference_cost.values()),
            "cpu_ratio": round(cpu_ratio, 4),
            "reference_batch": batch,
            "others_cores": others,
            "pairs": len(pairs.ours),
            **({"tls": tls_figures(tls)} if tls else {}),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("chain: all services against one process", seconds=6.0, tls=True)
    tell(options, measure(options))


if __name__ == "__main__":
    main()
