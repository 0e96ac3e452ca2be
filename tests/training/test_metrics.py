"""The file that `facet train --metrics-file` keeps."""

from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from services.common.errors import InvalidRequestError
from services.training.history import EpochRecord
from services.training.metrics import metrics_file
from services.training.progress import SilentProgress, StepReport


class Heard(SilentProgress):
    """Remembers what it is told in words."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def notice(self, text: str) -> None:
        """See TrainingProgress."""
        self.notices.append(text)


def _samples(path: Path) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(path.read_text("utf-8"))
        for sample in family.samples
    }


def test_the_file_says_where_the_training_is(tmp_path: Path) -> None:
    path, heard = tmp_path / "digits.prom", Heard()
    with metrics_file(path, heard) as progress:
        assert _samples(path)["facet_training_epochs_total"] == 0
        assert "facet_training_held_out_accuracy" not in _samples(path)
        progress.step(StepReport(1, 2, 1, 1, 0.5, 0.75, 1000.0, 0.01))
        progress.epoch(EpochRecord(1, 0.5, 0.75, 2.0, 1000.0))
        progress.worker_lost("the worker w-1 was lost")
        progress.evaluated(1, 0.4, 0.875)
        assert _samples(path) == {
            "facet_training_reported_steps_total": 1,
            "facet_training_epochs_total": 1,
            "facet_training_loss": 0.5,
            "facet_training_accuracy": 0.75,
            "facet_training_images_per_second": 1000,
            "facet_training_held_out_loss": 0.4,
            "facet_training_held_out_accuracy": 0.875,
            "facet_training_workers_lost_total": 1,
        }
    assert heard.notices == ["the worker w-1 was lost"]
    assert [each.name for each in tmp_path.iterdir()] == [path.name], "nothing is left beside it"


def test_without_a_file_nothing_stands_between() -> None:
    heard = Heard()
    with metrics_file(None, heard) as progress:
        assert progress is heard


@pytest.mark.parametrize("name", ["digits.txt", "nowhere/digits.prom"])
def test_a_file_that_cannot_be_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with (
        pytest.raises(InvalidRequestError, match=name.rpartition("/")[2]),
        metrics_file(tmp_path / name, Heard()),
    ):
        pass
