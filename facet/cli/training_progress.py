"""How `facet train` shows what goes on: a live bar on a terminal, lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from services.training.history import EpochRecord
from services.training.progress import StepReport, TrainingProgress


@contextmanager
def shown_training(console: Console) -> Iterator[TrainingProgress]:
    """Yield a progress that a person can follow on the console."""
    if console.is_terminal:
        with TrainingBar(console) as bar:
            yield bar
    else:
        yield TrainingLines(console)


class TrainingBar(Progress):
    """A progress bar over all steps of a training."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._task = self.add_task("Starting", total=None, figures="")
        self._held_out = ""

    def stage(self, text: str) -> None:
        """See TrainingProgress."""
        self.update(self._task, description=_capitalized(text), total=None, figures="")

    def notice(self, text: str) -> None:
        """See TrainingProgress."""
        self.console.print(f"[yellow]{escape(_capitalized(text))}[/]", soft_wrap=True)

    def worker_lost(self, text: str) -> None:
        """See TrainingProgress."""
        self.notice(text)

    def step(self, report: StepReport) -> None:
        """See TrainingProgress."""
        speed = f", {report.images_per_s:,.0f} images/s" if report.images_per_s else ""
        self.update(
            self._task,
            description="Training",
            total=report.total,
            completed=report.done,
            figures=f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}, "
            f"accuracy {report.accuracy:.1%}{speed}{self._held_out}",
        )

    def epoch(self, record: EpochRecord) -> None:
        """See TrainingProgress."""

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
        self._held_out = f"; held out {accuracy:.1%}"


class TrainingLines:
    """A line for each stage, each epoch and each measurement."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first: tuple[float, int] | None = None
        self._left = ""

    def stage(self, text: str) -> None:
        """See TrainingProgress."""
        self._print(_capitalized(text))

    def notice(self, text: str) -> None:
        """See TrainingProgress."""
        self._print(_capitalized(text))

    def worker_lost(self, text: str) -> None:
        """See TrainingProgress."""
        self.notice(text)

    def step(self, report: StepReport) -> None:
        """See TrainingProgress."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, report.done)
        since, first = self._first
        if report.done > first:
            left_s = (now - since) / (report.done - first) * (report.total - report.done)
            self._left = f", about {left_s:.0f} s left"

    def epoch(self, record: EpochRecord) -> None:
        """See TrainingProgress."""
        self._print(
            f"Epoch {record.epoch}: loss {record.loss:.4f}, accuracy {record.accuracy:.2%}, "
            f"{record.images_per_s:,.0f} images/s{self._left}"
        )

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        """See TrainingProgress."""
        self._print(f"Epoch {epoch}, held out: loss {loss:.4f}, accuracy {accuracy:.2%}")

    def _print(self, text: str) -> None:
        self._console.print(escape(text), soft_wrap=True)


def _capitalized(text: str) -> str:
    """Return the text with a capital first letter; names in it stay as they are."""
    return text[:1].upper() + text[1:]
