"""The 28 x 28 CNN, where a request costs more than its picture: unary, and 32 images a request.

The reference is one process that answers the same requests by itself (benchmarks/monolith.py),
asked by the same client, with as many engine threads as the shards have. The client is a Python
process on the same cores; StreamRecognize spares it most of a call, so that it stands beside.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks.clusters import SHARDS, Cluster
from benchmarks.load import ClosedLoop, LoadPlan
from benchmarks.measurement import Measurement
from benchmarks.models import DIGITS, digits_repository
from benchmarks.monolith import monolith
from benchmarks.pairs import Pairs, measure_rounds, spread
from benchmarks.report import (
    Options,
    cpu_lines,
    cpu_us_per_image,
    others_cores,
    read_options,
    report,
)
from benchmarks.requests import digit_files, digit_pixels, picture_requests, tensor_requests
from benchmarks.stream_load import StreamLoad
from benchmarks.tls import PLAIN, TLS, plain_and_tls, tls_figures, tls_lines
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT

CALLERS: Final = 64
BATCH: Final = 32
BATCH_CALLERS: Final = 16
STREAM: Final = "stream"
REFERENCE: Final = "monolith"


def load_pictures() -> list[bytes]:
    """One PNG file a request."""
    return picture_requests(DIGITS, digit_files(digit_pixels()))


def load_tensors() -> list[bytes]:
    """One picture a request, as a tensor of [1, 28, 28, 1]."""
    return tensor_requests(DIGITS, digit_pixels(), 1)


def load_batches() -> list[bytes]:
    """32 pictures a request, as a tensor."""
    return tensor_requests(DIGITS, digit_pixels(), BATCH)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of request."""

    name: str
    requests: Callable[[], Sequence[bytes]]
    images: int
    callers: int


KINDS: Final = (
    Kind("tensor", load_tensors, 1, CALLERS),
    Kind("png", load_pictures, 1, CALLERS),
    Kind("batch32", load_batches, BATCH, BATCH_CALLERS),
)


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured."""

    pairs: dict[str, Pairs]
    """By the name of the kind."""
    stream: Sequence[Measurement]
    """StreamRecognize, one tensor a request."""
    tls: Mapping[str, Pairs] = field(default_factory=dict)
    """With TLS and in plain text, by the name of the kind, or "stream"; empty: not asked for."""


Side = Callable[[float], Measurement]


def measure(options: Options) -> Results:
    """Run all kinds on both sides in turn and, if asked for, with TLS."""
    models = digits_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    with ExitStack() as stack:
        running = stack.enter_context(plain_and_tls(models, tls=options.tls))
        address, pid = stack.enter_context(monolith(models, DIGITS, SHARDS))
        sides: dict[tuple[str, str], Side] = {}
        for kind in KINDS:
            asked = (kind.requests, kind.images, kind.callers)
            plans = {side: each.load_plan(*asked) for side, each in running.items()}
            plans[REFERENCE] = LoadPlan(address, *asked, {"monolith": pid})
            for side, plan in plans.items():
                client = stack.enter_context(worker(partial(ClosedLoop, plan)))
                sides[kind.name, side] = client.run
        for side, each in running.items():
            sides[STREAM, side] = stack.enter_context(worker(_stream(each))).run
        measured = measure_rounds(list(sides.values()), options.seconds)
    return _results(dict(zip(sides, measured, strict=True)))


def _stream(running: Cluster) -> Callable[[], StreamLoad]:
    plan = running.load_plan(load_tensors, 1, CALLERS)
    return partial(StreamLoad, plan, running.cluster.tls_ca)


def _results(measured: Mapping[tuple[str, str], Sequence[Measurement]]) -> Results:
    names = [kind.name for kind in KINDS]
    pairs = {name: Pairs(measured[name, PLAIN], measured[name, REFERENCE]) for name in names}
    tls = {
        name: Pairs(measured[name, TLS], measured[name, PLAIN])
        for name in (*names, STREAM)
        if (name, TLS) in measured
    }
    return Results(pairs, measured[STREAM, PLAIN], tls)


def _rate(measurement: Measurement) -> float:
    return measurement.images_per_s


def tell(options: Options, results: Results) -> None:
    """Print and write the figures."""
    lines: dict[str, str] = {}
    figures: dict[str, object] = {}
    for name, pairs in results.pairs.items():
        ratio, ours = pairs.ratio(_rate), spread(pairs.ours, _rate)
        reference = spread(pairs.reference, _rate)
        costs = cpu_us_per_image(pairs.ours)
        reference_costs = cpu_us_per_image(pairs.reference)
        cpu_ratio = sum(reference_costs.values()) / sum(costs.values())
        lines |= {
            f"{name}: ratio": ratio.text(3),
            f"{name}: all services": ours.text(0, "img/s"),
            f"{name}: one process": reference.text(0, "img/s"),
            **{f"{name}: {each}": text for each, text in cpu_lines(costs, "an image").items()},
            f"{name}: ratio of the CPU times": f"{cpu_ratio:.3f}",
        }
        figures[name] = {
            "ratio": ratio.median,
            "ratio_spread": [ratio.low, ratio.high],
            "img_per_s": ours.median,
            "reference_img_per_s": reference.median,
            "cpu_us_per_image": costs,
            "reference_cpu_us_per_image": reference_costs,
            "cpu_ratio": round(cpu_ratio, 4),
        }
    stream = spread(results.stream, _rate)
    lines["stream, tensor"] = stream.text(0, "img/s")
    for name, pairs in results.tls.items():
        lines |= {f"{name}, {each}": text for each, text in tls_lines(pairs).items()}
    both_sides = [
        each for pairs in results.pairs.values() for each in (*pairs.ours, *pairs.reference)
    ]
    others = others_cores([*both_sides, *results.stream])
    lines["other work on the machine"] = f"{others:.2f} cores"
    tls = {name: tls_figures(pairs) for name, pairs in results.tls.items()}
    tensor, batch = results.pairs["tensor"], results.pairs["batch32"]
    report(
        options,
        "small: 28 x 28 CNN",
        lines,
        {
            "ratio": tensor.ratio(_rate).median,
            "unary_req_per_s": spread(tensor.ours, _rate).median,
            "unary_png_req_per_s": spread(results.pairs["png"].ours, _rate).median,
            "stream_req_per_s": stream.median,
            "stream_cpu_us_per_image": cpu_us_per_image(results.stream),
            "batch32_img_per_s": spread(batch.ours, _rate).median,
            **figures,
            **({"tls": tls} if tls else {}),
            "others_cores": others,
            "pairs": len(tensor.ours),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options(
        "small: requests that cost more than their pictures", seconds=3.0, tls=True
    )
    tell(options, measure(options))


if __name__ == "__main__":
    main()
