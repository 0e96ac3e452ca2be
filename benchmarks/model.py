"""The performance model against a real cluster: fits, predictions, and the way to the knee.

Two shards and MobileNetV2 (`--model digits`: the small CNN, which needs no test data). Pixels go
in as tensors, so that shards and not decoders are what is full. First requests of all sizes, so
that batches of all sizes run: every batch, as its shard tells of it (WatchBatches), is a point
next to the line that the shard has fitted. Then open-loop load that rises in steps of the
capacity that the cluster says it has; what ClusterService tells stands next to what the client
got. `--plot FOLDER` draws it all.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.model_run import Run, measure
from benchmarks.models import DIGITS, PHOTOGRAPHS
from benchmarks.report import Options, report

SECONDS: Final = 12.0


def read_options() -> tuple[Options, Path | None, str]:
    """Return the options, the folder for pictures and the model."""
    parser = argparse.ArgumentParser(description="model: what the performance model foretells")
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="seconds of each step; a rate needs ten to settle (default: %(default)g)",
    )
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--plot", type=Path, help="folder for the pictures")
    parser.add_argument("--model", choices=(DIGITS, PHOTOGRAPHS), default=PHOTOGRAPHS)
    given = parser.parse_args()
    if given.seconds <= 0:
        parser.error("--seconds must be above 0")
    return Options(given.seconds, given.json), given.plot, given.model


def tell(options: Options, run: Run) -> None:
    """Print and write the figures."""
    errors = np.abs([error for points in run.shards for error in points.errors])
    lines = {"half of all batches are foretold within": f"±{np.median(errors):.1%}"}
    shards: list[dict[str, object]] = []
    for points in run.shards:
        a, c = points.batch_us, points.image_us
        predicted_to_real = sum(points.predicted_us) / sum(points.device_us)
        lines[points.shard] = (
            f"t = {a:,.0f} + {c:,.0f} b us; predicted / real {predicted_to_real:.3f}, "
            f"mean error {np.mean(np.abs(points.errors)):.1%}, bias {np.mean(points.errors):+.1%}, "
            f"{len(points.images)} batches"
        )
        shards.append(
            {**asdict(points), "predicted_to_real": predicted_to_real, "errors": points.errors}
        )
    for step in run.steps:
        lines[f"{step.share:.0%} of the capacity"] = (
            f"{step.offered_images_per_s:,.0f} offered, {step.answered_images_per_s:,.0f} answered"
            f" images/s; utilisation {step.utilisation:.2f}, busy {step.busy_share:.2f}, batch "
            f"{step.batch_images:.1f}, p95 {step.p95_ms:,.0f} ms, {step.refused} not answered"
        )
    lines["other work on the machine"] = f"{run.others_cores:.2f} cores"
    report(
        options,
        f"model: {run.model}, what the performance model foretells",
        lines,
        {
            "median_error": float(np.median(errors)),
            "model": run.model,
            "shards": shards,
            "steps": [asdict(step) for step in run.steps],
            "others_cores": run.others_cores,
        },
    )


def main() -> None:
    """Measure, tell and draw."""
    options, folder, model = read_options()
    run = measure(model, options.seconds)
    tell(options, run)
    if folder is not None:
        from benchmarks.model_plots import draw  # slow to import

        draw(run, folder)


if __name__ == "__main__":
    main()
