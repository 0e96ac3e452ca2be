"""Trains for real, on a part of the digits."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.common.errors import InvalidRequestError
from services.common.models.repository import ModelRepository
from services.training import evaluation
from services.training.data.dataset import Dataset
from services.training.data.digits import load_digits_dataset
from services.training.history import EpochRecord
from services.training.learner import Learner
from services.training.progress import SilentProgress, StepReport
from services.training.settings import TrainingSettings
from services.training.trainer import train
from services.training.training import train_and_publish, training_run
from tests.fixtures_models import digits_build_output, digits_repository  # noqa: F401
from tests.training.measured import held_out_loss

# Keras hands its variables to numpy in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

QUICK = TrainingSettings(epochs=2, batch_size=50)


class Recorder(SilentProgress):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int, int, int]] = []
        self.losses: list[float] = []
        self.measured: list[tuple[int, float, float]] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def step(self, report: StepReport) -> None:
        assert np.isfinite(report.loss)
        self.steps.append((report.epoch, report.epochs, report.step, report.steps))

    def epoch(self, record: EpochRecord) -> None:
        assert 0 <= record.accuracy <= 1
        self.losses.append(record.loss)

    def evaluated(self, epoch: int, loss: float, accuracy: float) -> None:
        self.measured.append((epoch, loss, accuracy))


@pytest.fixture(scope="module")
def digits() -> Dataset:
    """The first 220 digits to train on, and all that are held out."""
    whole = load_digits_dataset()
    return dataclasses.replace(
        whole, train_images=whole.train_images[:220], train_labels=whole.train_labels[:220]
    )


def test_a_training_is_told_measured_and_published(digits: Dataset, tmp_path: Path) -> None:
    repository, progress = ModelRepository(tmp_path), Recorder()
    manifest = train_and_publish(repository, "digits", digits, QUICK, progress)
    assert manifest == repository.load_manifest("digits", 1)
    assert [artefact.format for artefact in manifest.artefacts] == ["litert", "keras"]
    assert progress.steps == [(epoch, 2, step, 5) for epoch in (1, 2) for step in range(1, 6)]
    assert progress.losses[1] < progress.losses[0]
    assert progress.stages == [
        "loading TensorFlow",
        "training cnn on digits",
        "saving the model",
        "converting to LiteRT",
        "published digits:1",
    ]
    assert manifest.training == {
        "dataset": "digits",
        "optimizer": "adam",
        **QUICK.to_record(),
        "held_out_digest": digits.held_out_digest(),
    }
    assert manifest.metrics["held_out_images"] == len(digits.test_labels)
    assert manifest.metrics["held_out_accuracy"] > 0.3
    golden = repository.golden_examples(manifest)
    np.testing.assert_array_equal(golden.images, digits.test_images[: len(golden.images)])
    repository.verify(manifest)
    report = json.loads((repository.root / "digits" / "1" / "metrics.json").read_text())
    assert report["held_out"]["accuracy"] == pytest.approx(
        manifest.metrics["held_out_accuracy"], abs=1e-6
    )
    assert [record["loss"] for record in report["epochs"]] == progress.losses


def test_held_out_pictures_are_run_once_for_each_epoch(
    digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    measure, scores = Learner.evaluate, evaluation.scores_of

    def counted_measure(self: Learner, images: Any, labels: Any) -> tuple[float, float]:
        ran.append(len(images))
        return measure(self, images, labels)

    def counted_scores(model: Any, normalisation: Any, images: Any) -> Any:
        ran.append(len(images))
        return scores(model, normalisation, images)

    monkeypatch.setattr(Learner, "evaluate", counted_measure)
    monkeypatch.setattr(evaluation, "scores_of", counted_scores)
    progress = Recorder()
    with training_run(ModelRepository(tmp_path), "digits", digits, QUICK, progress) as training:
        assert sum(ran) == QUICK.epochs * len(digits.test_labels)
        assert [epoch for epoch, _, _ in progress.measured] == [1, 2]
        last = (training.held_out.loss, training.held_out.accuracy)
        assert progress.measured[-1][1:] == last


def test_what_is_only_measured_is_not_published(digits: Dataset, tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path)
    with training_run(repository, "digits", digits, QUICK) as training:
        metrics = training.metrics()
    assert metrics["held_out_accuracy"] > 0.3
    assert metrics["skipped_files"] == 0
    assert repository.list_models() == ()
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]


@pytest.mark.parametrize("architecture", ["rnn", "resnet"])
def test_every_network_learns(digits: Dataset, architecture: str) -> None:
    settings = dataclasses.replace(QUICK, architecture=architecture, learning_rate=5e-3)
    middle = dataclasses.replace(
        digits,
        train_images=digits.train_images[:, 7:21, 7:21],
        test_images=digits.test_images[:, 7:21, 7:21],
    )
    first, second = train(middle, settings, SilentProgress()).history
    assert (first.epoch, second.epoch) == (1, 2)
    assert second.loss < first.loss
    assert first.images_per_s == pytest.approx(len(digits.train_labels) / first.seconds)


def test_one_seed_gives_one_result(digits: Dataset) -> None:
    first, again = (train(digits, QUICK, SilentProgress()) for _ in range(2))
    other = train(digits, dataclasses.replace(QUICK, seed=1), SilentProgress())
    loss = held_out_loss(first, digits)
    assert held_out_loss(again, digits) == pytest.approx(loss, rel=1e-3)
    assert held_out_loss(other, digits) != pytest.approx(loss, rel=1e-3)


def test_a_loss_that_is_no_number_publishes_nothing(digits: Dataset, tmp_path: Path) -> None:
    repository = ModelRepository(tmp_path)
    settings = dataclasses.replace(QUICK, learning_rate=1e38)
    with pytest.raises(InvalidRequestError, match="diverged in epoch 1, step 2") as raised:
        train_and_publish(repository, "digits", digits, settings)
    assert raised.value.reason == "TRAINING_DIVERGED"
    assert repository.list_models() == ()


def test_an_unknown_architecture_is_refused(digits: Dataset, tmp_path: Path) -> None:
    settings = dataclasses.replace(QUICK, architecture="abacus")
    with pytest.raises(InvalidRequestError, match=r"must be one of cnn, .* not 'abacus'"):
        train_and_publish(ModelRepository(tmp_path), "digits", digits, settings)


def test_the_defaults_recognise_held_out_digits(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    manifest = digits_repository.load_manifest("digits", 1)
    assert manifest.metrics["held_out_accuracy"] >= 0.96
    assert manifest.metrics["training_images"] == 1201


def test_nothing_of_the_native_libraries_reaches_the_terminal(
    digits_build_output: str,  # noqa: F811
) -> None:
    assert digits_build_output == ""
