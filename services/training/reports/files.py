"""The report files in the folder of a version."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from services.common.models.artefacts import StoredFile, sha256_of
from services.training.data.dataset import SkippedFile
from services.training.history import EpochRecord
from services.training.reports.figures import draw_confusion_matrix, draw_training_curve
from services.training.reports.measures import Measures

METRICS_FILE: Final = "metrics.json"
CURVE_FILE: Final = "training_curve.png"
CONFUSION_FILE: Final = "confusion_matrix.png"


@dataclass(frozen=True, slots=True)
class Reports:
    """What the files say."""

    history: Sequence[EpochRecord]
    held_out: Measures
    skipped: Sequence[SkippedFile]

    def write(self, folder: Path) -> tuple[StoredFile, ...]:
        """Write the files into a folder and return what they are; raises OSError."""
        text = json.dumps(self._record(), indent=2, ensure_ascii=False) + "\n"
        (folder / METRICS_FILE).write_text(text, encoding="utf-8")
        draw_training_curve(self.history, self.held_out, folder / CURVE_FILE)
        draw_confusion_matrix(self.held_out, folder / CONFUSION_FILE)
        names = (METRICS_FILE, CURVE_FILE, CONFUSION_FILE)
        return tuple(_describe(folder / name) for name in names)

    def _record(self) -> dict[str, Any]:
        return {
            "held_out": {
                "images": self.held_out.images,
                "accuracy": self.held_out.accuracy,
                "top_5_accuracy": self.held_out.top_5_accuracy,
                "loss": self.held_out.loss,
                "classes": [asdict(measured) for measured in self.held_out.classes],
            },
            "epochs": [asdict(record) for record in self.history],
            "skipped_files": len(self.skipped),
            "skipped": [asdict(skipped) for skipped in self.skipped],
        }


def _describe(path: Path) -> StoredFile:
    return StoredFile(file=path.name, sha256=sha256_of(path), bytes=path.stat().st_size)
