"""What the demo shows of a set of pictures."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from facet.client.pictures import Answer
from facet.demo.pictures import TestPicture

ROWS: Final = 8
LABEL_WIDTH: Final = 32


@dataclass(frozen=True, slots=True)
class Report:
    """Predictions, accuracy, throughput, latency, and which shard did what."""

    model: str
    pictures: Sequence[TestPicture]
    answers: Sequence[Answer]
    seconds: float

    @property
    def errors(self) -> int:
        """Pictures without an answer."""
        return sum(answer.error is not None for answer in self.answers)

    @property
    def accuracy(self) -> float:
        """Share of all pictures of which the best class is the right one."""
        return sum(map(self._right, self.pictures, self.answers)) / len(self.pictures)

    def print(self, console: Console) -> None:
        """Show it."""
        console.print(self._predictions())
        console.print(self._shards())
        milliseconds = [1000 * answer.seconds for answer in self.answers]
        p50, p99 = np.percentile(milliseconds, [50, 99])
        console.print(
            f"[bold]{self.model}[/]: {len(self.answers)} pictures, "
            f"accuracy [bold]{self.accuracy:.1%}[/], {self.errors} errors, "
            f"{len(self.answers) / self.seconds:.0f} pictures/s, "
            f"latency p50 {p50:.1f} ms, p99 {p99:.1f} ms\n"
        )

    def _predictions(self) -> Table:
        table = Table("picture", "shows", "recognised as", "score", "then", box=None)
        every = max(1, len(self.pictures) // ROWS)
        rows = list(zip(self.pictures, self.answers, strict=True))[::every][:ROWS]
        for picture, answer in rows:
            if answer.error is not None:
                table.add_row(picture.path.name, _short(picture.label), escape(str(answer.error)))
                continue
            best, *others = answer.classes
            colour = "green" if self._right(picture, answer) else "red"
            table.add_row(
                picture.path.name,
                _short(picture.label),
                f"[{colour}]{_short(best.label)}[/]",
                f"{best.score:.1%}",
                ", ".join(f"{_short(other.label)} {other.score:.1%}" for other in others),
            )
        return table

    def _shards(self) -> Table:
        images: Counter[str] = Counter()
        batches: defaultdict[str, float] = defaultdict(float)
        device_ms: defaultdict[str, float] = defaultdict(float)
        for answer in self.answers:
            for execution in answer.executions:
                images[execution.shard] += len(execution.images)
                # Every image of a batch reports the whole batch.
                batches[execution.shard] += len(execution.images) / execution.batch_size
                device_ms[execution.shard] += execution.device_us / execution.batch_size / 1000
        table = Table("shard", box=None)
        for heading in ("pictures", "mean batch", "ms on device a picture"):
            table.add_column(heading, justify="right")
        for shard, count in sorted(images.items()):
            table.add_row(
                shard,
                str(count),
                f"{count / batches[shard]:.1f}",
                f"{device_ms[shard] / count:.2f}",
            )
        return table

    @staticmethod
    def _right(picture: TestPicture, answer: Answer) -> bool:
        return bool(answer.classes) and answer.classes[0].label == picture.label


def _short(label: str) -> str:
    return escape(label if len(label) <= LABEL_WIDTH else label[: LABEL_WIDTH - 1] + "…")
