"""The pictures of benchmarks.model: fits, predictions, and the way to the knee."""

from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from benchmarks.model_run import Run

DPI: Final = 80
COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd")
CLIP: Final = 1.0
"""Relative errors beyond are drawn at the edge."""


def draw(run: Run, folder: Path) -> list[Path]:
    """Write the pictures, as PNG files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"model-fit": _fit, "model-predictions": _predictions, "model-knee": _knee}
    written = []
    for name, picture in pictures.items():
        figure = picture(run)
        path = folder / f"{name}.png"
        figure.savefig(path, dpi=DPI, bbox_inches="tight")
        written.append(path)
    return written


def _fit(run: Run) -> Figure:
    """Every batch, and the line that its shard has fitted."""
    figure = Figure(figsize=(5.5 * len(run.shards), 4))
    axes = figure.subplots(1, len(run.shards), sharey=True, squeeze=False)
    for axis, points, colour in zip(axes[0], run.shards, COLOURS, strict=False):
        spread = np.random.default_rng(1).uniform(-0.25, 0.25, len(points.images))
        real_ms = np.array(points.device_us) / 1e3
        axis.scatter(
            np.array(points.images) + spread, real_ms, s=6, alpha=0.35, color=colour, linewidths=0
        )
        sizes = np.array([0, max(points.images)])
        line = (points.batch_us + points.image_us * sizes) / 1e3
        axis.plot(sizes, line, color="black", linewidth=1.5)
        a, c = points.batch_us / 1e3, points.image_us / 1e3
        axis.set_title(
            f"{points.shard.rpartition('-')[0]}: t = {a:.2f} + {c:.2f}·b ms", fontsize=10
        )
        axis.set_xlabel("images in the batch (b)")
        axis.set_ylim(0, float(np.percentile(real_ms, 99)) * 1.3)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("time on the device, ms")
    figure.suptitle(f"{run.model}: measured batches and the fitted line", fontsize=11)
    return figure


def _predictions(run: Run) -> Figure:
    """What was foretold of each batch against what it took, and how the errors lie."""
    figure = Figure(figsize=(11, 4.2))
    scatter, histogram = figure.subplots(1, 2)
    for points, colour in zip(run.shards, COLOURS, strict=False):
        name = points.shard.rpartition("-")[0]
        scatter.scatter(
            np.array(points.device_us) / 1e3,
            np.array(points.predicted_us) / 1e3,
            s=6,
            alpha=0.35,
            color=colour,
            linewidths=0,
            label=name,
        )
        errors = np.clip(points.errors, -CLIP, CLIP)
        middle = float(np.median(np.abs(points.errors)))
        label = f"{name}: half within ±{middle:.0%}"
        histogram.hist(errors, bins=41, range=(-CLIP, CLIP), alpha=0.5, color=colour, label=label)
    top = max(float(np.percentile(points.device_us, 96)) / 1e3 for points in run.shards) * 1.3
    scatter.plot([0, top], [0, top], color="black", linewidth=1)
    scatter.set(xlim=(0, top), ylim=(0, top), xlabel="real, ms", ylabel="predicted, ms")
    histogram.axvline(0, color="black", linewidth=1)
    histogram.set(xlabel="(predicted - real) / real", ylabel="batches")
    for axis in (scatter, histogram):
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    figure.suptitle(f"{run.model}: predicted and real time of every batch", fontsize=11)
    return figure


def _knee(run: Run) -> Figure:
    """What rises with the load, and what says too early that it is full."""
    offered = [step.offered_images_per_s for step in run.steps]
    figure = Figure(figsize=(14, 4))
    rates, shares, waits = figure.subplots(1, 3)
    rates.plot(offered, [step.answered_images_per_s for step in run.steps], "o-", label="answered")
    capacities = [step.capacity_images_per_s for step in run.steps]
    rates.plot(offered, capacities, "k--", label="capacity, as the cluster tells it")
    rates.set(ylabel="images/s", ylim=(0, 1.2 * max(*capacities, *offered)))
    utilisations = [step.utilisation for step in run.steps]
    shares.plot(offered, utilisations, "o-", label="full-batch utilisation")
    shares.plot(offered, [step.busy_share for step in run.steps], "s-", label="busy share of time")
    shares.set(ylabel="share", ylim=(0, max(1.1, *utilisations)))
    waits.plot(offered, [step.p95_ms for step in run.steps], "o-", label="p95 of answered, ms")
    twin = waits.twinx()
    twin.plot(offered, [step.batch_images for step in run.steps], "g^-", label="mean batch")
    twin.set(ylim=(0, None), ylabel="images in a batch")
    waits.set(ylabel="ms", ylim=(0, None))
    twin.legend(fontsize=8, loc="lower right")
    for axis in (rates, shares, waits):
        axis.set_xlabel("offered images/s")
        axis.legend(fontsize=8, loc="upper left")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    return figure
