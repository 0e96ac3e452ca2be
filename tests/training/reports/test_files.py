"""The files that people look at."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.training.data.dataset import SkippedFile
from services.training.history import EpochRecord
from services.training.reports.figures import draw_confusion_matrix
from services.training.reports.files import Reports
from services.training.reports.measures import Measures

HISTORY = (EpochRecord(1, 0.9, 0.5, 2.0, 50.0), EpochRecord(2, 0.4, 0.8, 1.0, 100.0))
DARKEST_BLUE = (8, 48, 107)
"""The upper end of Matplotlib's colours "Blues": a share of 1."""
SKIPPED = (SkippedFile("cat/notes.txt", "not a picture"),)


def measures(classes: int, labels: list[str] | None = None) -> Measures:
    rng = np.random.default_rng(classes)
    truth = np.repeat(np.arange(classes), 10)
    scores = rng.random((len(truth), classes)).astype(np.float32)
    scores[np.arange(len(truth)), truth] += 0.5
    names = labels or [f"class {number}" for number in range(classes)]
    return Measures.of(scores / scores.sum(axis=1, keepdims=True), truth, names)


def test_each_file_is_written_and_described(tmp_path: Path) -> None:
    held_out = measures(10)
    stored = Reports(HISTORY, held_out, SKIPPED).write(tmp_path)
    assert [each.file for each in stored] == [
        *("metrics.json", "training_curve.png", "confusion_matrix.png")
    ]
    for each in stored:
        assert each.verify(tmp_path) == tmp_path / each.file
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert record["held_out"]["accuracy"] == held_out.accuracy
    assert record["held_out"]["top_5_accuracy"] == held_out.top_5_accuracy
    assert record["held_out"]["classes"][3] == {
        "label": "class 3",
        "precision": held_out.classes[3].precision,
        "recall": held_out.classes[3].recall,
        "support": 10,
    }
    assert record["epochs"][1] == {
        "epoch": 2,
        "loss": 0.4,
        "accuracy": 0.8,
        "seconds": 1.0,
        "images_per_s": 100.0,
    }
    assert record["skipped_files"] == 1
    assert record["skipped"] == [{"file": "cat/notes.txt", "reason": "not a picture"}]


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_the_matrix_shows_what_is_right_on_its_diagonal(classes: int, tmp_path: Path) -> None:
    truth = np.arange(classes)
    perfect = Measures.of(np.eye(classes, dtype=np.float32), truth, [str(each) for each in truth])
    path = tmp_path / "matrix.png"
    draw_confusion_matrix(perfect, path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 500
    dark = (pixels == DARKEST_BLUE).all(axis=-1)
    # Without the bar of colours, which stands apart on the right.
    filled = np.flatnonzero(dark.any(axis=0))
    bars = filled[1:][np.diff(filled) > 20]
    rows, columns = np.nonzero(dark[:, : bars[-1] if len(bars) else None])
    down = (rows - rows.min()) * classes // (np.ptp(rows) + 1)
    across = (columns - columns.min()) * classes // (np.ptp(columns) + 1)
    assert set(down) == set(range(classes))
    # The edges of cells are rounded to pixels.
    assert (down == across).mean() > 0.9
    assert (abs(down - across) <= 1).mean() > 0.999


def test_labels_may_be_of_any_kind(tmp_path: Path) -> None:
    labels = [
        "$a_{",
        "猫",
        "a very long label that nobody would read to its end",
        "x\ny",
        "\\frac$",
    ]
    Reports(HISTORY, measures(5, labels), ()).write(tmp_path)
    record = json.loads((tmp_path / "metrics.json").read_text())
    assert [each["label"] for each in record["held_out"]["classes"]] == labels


def test_drawing_leaves_matplotlib_as_it_was(tmp_path: Path) -> None:
    program = (
        "import sys; from tests.training.reports.test_files import *;"
        "assert 'matplotlib' not in sys.modules;"
        "Reports(HISTORY[:1], measures(3), ()).write(Path(sys.argv[1]));"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == ("False\n", "")
