"""The 28 x 28 CNN, where a request costs more than its picture: unary, and 32 images a request.

The reference is one process that answers the same requests by itself (benchmarks/monolith.py),
asked by the same client, with as many engine threads as the shards have. The client is a Python
process on the same cores; StreamRecognize spares it most of a call, so that it stands beside.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.clusters import SHARDS, Cluster, cluster
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
from benchmarks.workers import worker
from facet.launcher.plan import MALLOC_ENVIRONMENT

CALLERS: Final = 64
BATCH: Final = 32
BATCH_CALLERS: Final = 16


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


def measure(seconds: float) -> Results:
    """Run all kinds on both sides in turn."""
    models = digits_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker processes
    with ExitStack() as stack:
        running = stack.enter_context(cluster(models))
        address, pid = stack.enter_context(monolith(models, DIGITS, SHARDS))
        sides = []
        for kind in KINDS:
            for where, pids in ((running.gateway, running.pids), (address, {"monolith": pid})):
                plan = LoadPlan(where, kind.requests, kind.images, kind.callers, pids)
                sides.append(stack.enter_context(worker(partial(ClosedLoop, plan))).run)
        plan = _stream_plan(running)
        sides.append(stack.enter_context(worker(partial(StreamLoad, plan))).run)
        measured = measure_rounds(sides, seconds)
        if running.deaths:
            raise RuntimeError(f"processes died: {running.deaths}")
    both = zip(measured[:-1:2], measured[1:-1:2], strict=True)
    pairs = {kind.name: Pairs(*sides) for kind, sides in zip(KINDS, both, strict=True)}
    return Results(pairs, measured[-1])


def _stream_plan(running: Cluster) -> LoadPlan:
    return LoadPlan(running.gateway, load_tensors, 1, CALLERS, running.pids)


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
    both_sides = [
        each for pairs in results.pairs.values() for each in (*pairs.ours, *pairs.reference)
    ]
    others = others_cores([*both_sides, *results.stream])
    lines["other work on the machine"] = f"{others:.2f} cores"
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
            "others_cores": others,
            "pairs": len(tensor.ours),
        },
    )


def main() -> None:
    """Measure and tell."""
    options = read_options("small: requests that cost more than their pictures", seconds=3.0)
    tell(options, measure(options.seconds))


if __name__ == "__main__":
    main()
