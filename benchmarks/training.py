"""Data-parallel training with 1, 2 and 4 workers: pictures a second, and what each worker adds.

One fixed problem: 60,000 pictures of 28 x 28 (MNIST's numbers; what is in them changes nothing of
the speed, so they are noise), the CNN that `facet train` trains, 256 pictures a step however many
workers share them. Every worker is a process with one thread. The window opens when the members
have learned their first steps, so that no start counts; a checkpoint is written after every epoch,
as always. More workers than cores can only lose.
"""

import logging
import os
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import psutil

from benchmarks.measurement import Measurement, Window
from benchmarks.pairs import Pairs, measure_rounds, spread
from benchmarks.report import Options, others_cores, read_options, report
from facet.launcher.training_workers import LocalWorkers
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from services.training.distributed.coordinator import Cadence
from services.training.progress import SilentProgress, StepReport
from services.training.running import RunOptions
from services.training.settings import TrainingSettings
from services.training.training import train_and_publish

WORKERS: Final = (1, 2, 4)
IMAGES: Final = 60_000
HELD_OUT: Final = 256
BATCH: Final = 256
"""Of all workers together."""
FIRST_STEPS: Final = 10
ROUNDS: Final = 3


class _MeasuredError(Exception):
    """The window is over; the training need not go on."""

    def __init__(self, measurement: Measurement) -> None:
        super().__init__()
        self.measurement = measurement


class _Meter(SilentProgress):
    """Opens a window after the first steps, and ends the training when it is over."""

    def __init__(self, workers: LocalWorkers, seconds: float) -> None:
        self._workers = workers
        self._seconds = seconds
        self._window: Window | None = None
        self._first = 0
        self._opened = 0.0

    def step(self, report: StepReport) -> None:
        """See TrainingProgress."""
        if self._window is None:
            if report.done >= FIRST_STEPS:
                self._first, self._window = report.done, Window(self._pids())
                self._window.open()
                self._opened = time.perf_counter()
        elif time.perf_counter() - self._opened >= self._seconds:
            self._window.done((report.done - self._first) * BATCH, self._opened)
            raise _MeasuredError(self._window.close())

    def _pids(self) -> dict[str, int]:
        return {
            f"{name} {number}": member.pid
            for name, pid in self._workers.pids.items()
            for number, member in enumerate(psutil.Process(pid).children())
        }


def train_for(workers: int, seconds: float) -> Measurement:
    """Train with so many workers and measure so many seconds of it."""
    source = LocalWorkers(workers, threads=1)
    settings = TrainingSettings(epochs=1000, batch_size=BATCH // workers, shift=0.0)
    options = RunOptions(workers=source, cadence=Cadence(report_s=0.0))
    with TemporaryDirectory(prefix="facet-benchmark-") as models:
        try:
            train_and_publish(
                ModelRepository(Path(models)),
                "noise",
                noise(),
                settings,
                _Meter(source, seconds),
                options,
            )
        except _MeasuredError as over:
            return over.measurement
    raise RuntimeError("the training ended before it was measured")


def noise() -> Dataset:
    """Pictures of MNIST's size."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 28, 28, 1), np.uint8)
    labels = rng.integers(0, 10, IMAGES)
    return Dataset(
        "noise", images, labels, images[:HELD_OUT], labels[:HELD_OUT], tuple("0123456789")
    )


def _speed(measurement: Measurement) -> float:
    return measurement.images_per_s


def tell(options: Options, sides: list[list[Measurement]]) -> None:
    """Print and write the figures."""
    ratios = {
        workers: Pairs(side, sides[0]).ratio(_speed)
        for workers, side in zip(WORKERS, sides, strict=True)
    }
    speeds = {workers: spread(side, _speed) for workers, side in zip(WORKERS, sides, strict=True)}
    others = others_cores([each for side in sides for each in side])
    more = WORKERS[1:]
    report(
        options,
        f"training: {BATCH} pictures a step, one thread a worker",
        {
            **{f"speed of 1, with {n}": ratios[n].text(2) for n in more},
            **{f"efficiency of {n}": f"{ratios[n].median / n:.0%}" for n in more},
            **{f"{n} worker{'s' * (n > 1)}": speeds[n].text(0, "images/s") for n in WORKERS},
            "other work on the machine": f"{others:.2f} cores",
        },
        {
            "ratio": ratios[2].median,
            "rounds": len(sides[0]),
            "workers": {
                str(n): {
                    "images_per_s": speeds[n].median,
                    "images_per_s_spread": [speeds[n].low, speeds[n].high],
                    "ratio": ratios[n].median,
                    "ratio_spread": [ratios[n].low, ratios[n].high],
                    "efficiency": ratios[n].median / n,
                }
                for n in WORKERS
            },
            "others_cores": others,
        },
    )


def main() -> None:
    """Measure and tell."""
    os.environ.update(QUIET_ENVIRONMENT)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many learners in one process
    options = read_options("training: images a second with 1, 2 and 4 workers", seconds=6.0)
    sides = [partial(train_for, workers) for workers in WORKERS]
    tell(options, measure_rounds(sides, options.seconds, ROUNDS))


if __name__ == "__main__":
    main()
