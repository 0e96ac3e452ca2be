"""The reference that has no services: threads of one process that decode and infer.

Each thread has an engine of its own with one thread, decodes some pictures with the very function
that preprocessing uses, and runs them as one batch. That is the quickest way found for one
process on two cores: two engines of one thread beat one of two, and nothing is handed over
between threads. The batch size is tried out beforehand and the best one taken.
"""

import dataclasses
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.measurement import Measurement, Window, warm_s
from services.common.models.input_spec import InputSpec
from services.common.models.repository import ModelRepository
from services.inference.engines.interface import Engine
from services.inference.engines.loading import load_version
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare

BATCHES: Final = (1, 2, 4, 8, 16)
TRIAL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class InProcessPlan:
    """What a reference process does."""

    models: Path
    model: str
    files: Callable[[], Sequence[bytes]]
    """Makes the encoded pictures, over there."""
    threads: int
    batch: int | None = None
    """Images a batch; None: the best of those that are tried."""


class InProcess:
    """Decodes and infers as quickly as one process can."""

    def __init__(self, plan: InProcessPlan) -> None:
        cv2.setNumThreads(1)
        repository = ModelRepository(plan.models)
        version = repository.latest(plan.model)
        loaded = [
            load_version(repository, plan.model, version, batch_sizes=[1, 2, 4, 8, 16, 32])
            for _ in range(plan.threads)
        ]
        self._engines: list[Engine] = [each.engine for each in loaded]
        self._spec: InputSpec = loaded[0].manifest.input
        self._limits = Limits()
        self._files = itertools.cycle(plan.files())
        self._stopping = threading.Event()
        self._failed: list[Exception] = []
        self.batch = plan.batch or self._best_batch()

    def run(self, seconds: float) -> Measurement:
        """See Runner.run."""
        return self._run(seconds, self.batch)

    def close(self) -> None:
        """Free the engines."""
        for engine in self._engines:
            engine.close()

    def _best_batch(self) -> int:
        return max(BATCHES, key=lambda batch: self._run(TRIAL_S, batch).images_per_s)

    def _run(self, seconds: float, batch: int) -> Measurement:
        window = Window({"reference": os.getpid()})
        self._stopping.clear()
        threads = [
            threading.Thread(target=self._work, args=(engine, batch, window))
            for engine in self._engines
        ]
        for thread in threads:
            thread.start()
        time.sleep(warm_s(seconds))
        window.open()
        time.sleep(seconds)
        measurement = dataclasses.replace(window.close(), settings={"batch": batch})
        self._stopping.set()
        for thread in threads:
            thread.join()
        if self._failed:
            raise self._failed[0]
        return measurement

    def _work(self, engine: Engine, batch: int, window: Window) -> None:
        pixels: npt.NDArray[np.uint8] = np.empty((batch, *self._spec.shape), np.uint8)
        try:
            while not self._stopping.is_set():
                started = time.perf_counter()
                for place, file in enumerate(self._next(batch)):
                    pixels[place] = prepare(file, self._spec, self._limits)
                engine.run(pixels).argmax(axis=1)
                window.done(batch, started)
        except Exception as error:
            self._failed.append(error)

    def _next(self, batch: int) -> Iterator[bytes]:
        return itertools.islice(self._files, batch)
