"""What a training tells Prometheus: a worker at its endpoint, `facet train` in a file.

The file is for the textfile collector of node_exporter: the command is there for as long as it
trains, and nobody knows where.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, write_to_textfile
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from services.common.errors import InvalidRequestError
from services.common.metrics.families import counter, gauge
from services.training.history import EpochRecord
from services.training.progress import StepReport, TrainingProgress

WRITE_S: Final = 2.0
"""How often the file is written while steps are learned."""
SUFFIX: Final = ".prom"
"""node_exporter reads no other files."""


class Figures:
    """Where a training is."""

    def __init__(self) -> None:
        self.steps = 0
        self.epochs = 0
        self.loss = 0.0
        self.accuracy = 0.0
        self.images_per_s = 0.0

    def step(self, loss: float, accuracy: float, images_per_s: float) -> None:
        """A batch was learned."""
        self.steps += 1
        self.loss, self.accuracy, self.images_per_s = loss, accuracy, images_per_s

    def metrics(self) -> Iterable[Metric]:
        """Tell them."""
        yield counter(
            "facet_training_reported_steps",
            "Steps that were told of; of many workers not every one is.",
            self.steps,
        )
        yield counter("facet_training_epochs", "Epochs that were learned.", self.epochs)
        yield gauge(
            "facet_training_loss", "Mean loss of the last batch that was told of, nats.", self.loss
        )
        yield gauge(
            "facet_training_accuracy",
            "Share of that batch that was recognised, before its step.",
            self.accuracy,
        )
        yield gauge(
            "facet_training_images_per_second",
            "Training pictures a second, lately; 0: not known yet.",
            self.images_per_s,
        )


class MetricsFile(Collector):
    """A TrainingProgress that keeps a file up to date, and tells another one all that it hears."""

    def __init__(self, path: Path, progress: TrainingProgress) -> None:
        self._path = path
        self._progress = progress
        self._figures = Figures()
        self._held_out: tuple[float, float] | None = None
        self._workers_lost = 0
        self._written = 0.0
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def write(self) -> None:
        """Write the file now; raises InvalidRequestError when that cannot be done."""
        try:
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:
            raise InvalidRequestError(f"cannot write {self._path}: {error.strerror}") from error
        self._written = time.monotonic()

    def collect(self) -> Iterable[Metric]:
        """See Collector."""
        yield from self._figures.metrics()
        held_out = [] if self._held_out is None else [self._held_out]
        yield gauge(
            "facet_training_held_out_loss",
            "Mean loss on the held-out pictures after the last epoch that was measured, nats.",
            [((), loss) for loss, _ in held_out],
        )
        yield gauge(
            "facet_training_held_out_accuracy",
            "Share of the held-out pictures that was recognised.",
            [((), accuracy) for _, accuracy in held_out],
        )
        yield counter(
            "facet_training_workers_lost",
            "Workers that were lost; the training went on from its last checkpoint.",
            self._workers_lost,
        )

    def stage(self, text: str) -> None:
        """See TrainingProgress."""
        self._progress.stage(text)

    def notice(self, text: str) -> None:
        """See TrainingProgress."""
        self._progress.notice(text)

    def worker_lost(self, text: str) -> None:
        """See TrainingProgress."""
        self._workers_lost += 1
        self.write()
        self._progress.worker_lost(text)

    def step(self, report: StepReport) -> None:
        """See TrainingProgress."""
        self._figures.step(report.loss, report.accuracy, report.images_per_s)
        if time.monotonic() - self._written >= WRITE_S:
            self.write()
        self._progress.step(report)

    def epoch(self, record: EpochRecord) -> None:
        """See TrainingProgress."""
        self._figures.epochs += 1
        self.write()
        self._progress.epoch(record)

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
        self._held_out = (loss, accuracy)
        self.write()
        self._progress.evaluated(epoch, loss, accuracy)


@contextmanager
def metrics_file(path: Path | None, progress: TrainingProgress) -> Iterator[TrainingProgress]:
    """Yield a progress that also keeps a file; `progress` itself for None.

    Raises InvalidRequestError when the file cannot be written or node_exporter would not read it.
    """
    if path is None:
        yield progress
        return
    if path.suffix != SUFFIX:
        raise InvalidRequestError(
            f"a metrics file's name must end in {SUFFIX}: {path.name} does not"
        )
    file = MetricsFile(path, progress)
    file.write()
    yield file
    file.write()
