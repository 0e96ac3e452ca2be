"""`facet train` on several workers, as a person runs it."""

from pathlib import Path

import pytest
from rich.console import Console

from facet.cli.training_progress import shown_training
from services.common.models.repository import ModelRepository
from services.training.history import EpochRecord
from services.training.progress import StepReport
from tests.cluster.commands import facet_here, facet_within, says


@pytest.mark.parametrize("workers", ["0", "two", "registry:", "registry:0", "consul:2"])
def test_workers_that_mean_nothing_are_wrong_usage(workers: str, tmp_path: Path) -> None:
    done = facet_here("train", "--home", str(tmp_path), "--workers", workers)
    assert done.returncode == 2
    assert says(done, "neither a number of workers, such as 4, nor registry:4")


def test_without_workers_or_something_to_resume_one_sentence_says_so(tmp_path: Path) -> None:
    home = ("--home", str(tmp_path))
    alone = facet_here("train", *home, "--workers", "registry:2")
    assert alone.returncode == 1
    assert says(alone, "no training worker is free; start some with `facet train-worker`")
    assert f"Logs for TensorBoard: {tmp_path}/logs/training/" in alone.stderr
    other = facet_here("train", *home, "--workers", "registry:2", "--resume", "--seed", "1")
    assert other.returncode == 1
    assert says(other, "cannot be resumed with other settings: seed was 0 and is 1 now")


# TensorFlow is loaded by the command and by each of its workers.
@pytest.mark.timeout(300)
def test_a_training_is_told_in_lines_and_published(tmp_path: Path) -> None:
    logs = tmp_path / "board"
    done = facet_within(
        280.0,
        *("train", "--home", str(tmp_path), "--workers", "2", "--epochs", "2"),
        *("--batch-size", "64", "--log-dir", str(logs)),
    )
    assert done.returncode == 0, done.stderr
    assert says(done, "Starting 2 workers", "Epoch 2: loss", "images/s", "Epoch 2, held out: loss")
    assert says(done, f"Logs for TensorBoard: {logs}", "Published digits:1")
    assert ModelRepository(tmp_path / "models").versions("digits") == (1,)
    assert list((logs / "train").glob("*tfevents*"))
    assert (logs / "workers" / "training-worker-1.log").is_file()


def test_on_a_terminal_one_line_tells_all() -> None:
    console = Console(force_terminal=True, width=200, record=True, color_system=None)
    report = StepReport(
        epoch=2,
        epochs=4,
        step=3,
        steps=10,
        loss=0.5,
        accuracy=0.75,
        images_per_s=1234.4,
        learning_rate=1e-3,
    )
    with shown_training(console) as progress:
        progress.stage("starting 2 workers")
        progress.evaluated(1, 0.6, 0.7)
        progress.step(report)
        progress.epoch(EpochRecord(2, 0.5, 0.75, 1.0, 1234.4))
        progress.notice("worker-1 was lost")
    text = console.export_text()
    assert "epoch 2/4, loss 0.500, accuracy 75.0%, 1,234 images/s; held out 70.0%" in text
    assert "Worker-1 was lost" in text
