"""Versions are tried in processes of their own, unless they are like one that was measured."""

import threading
from pathlib import Path

import pytest

from services.common.errors import ModelRefusedError
from services.common.models.artefacts import Artefact
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import load_version
from services.inference.trial import Trials
from tests.inference.models import repository_in

DIGITS = ModelKey("digits", 1)


@pytest.fixture
def environment(
    digits_repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> ModelRepository:
    """The repository that a shard is configured for."""
    monkeypatch.setenv("FACET_MODELS", str(digits_repository.root))
    monkeypatch.setenv("FACET_MAX_BATCH", "8")
    return digits_repository


def test_what_another_process_measured_is_run_by(environment: ModelRepository) -> None:
    measured = Trials().run(DIGITS)
    assert set(measured) <= {1, 2, 4, 8}
    assert all(seconds > 0 for seconds in measured.values())
    loaded = load_version(environment, *DIGITS, batch_sizes=[1], measure=lambda _: measured)
    assert loaded.plan.measured == measured
    images = environment.golden_examples(loaded.manifest).images
    assert loaded.engine.run(images[:3]).shape == (3, 10)
    loaded.engine.close()


def test_what_must_not_be_served_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = repository_in(tmp_path)  # its files are no models
    monkeypatch.setenv("FACET_MODELS", str(repository.root))
    with pytest.raises(ModelRefusedError, match="LiteRT cannot load"):
        Trials().run(ModelKey("sums", 1))


@pytest.mark.usefixtures("environment")
def test_a_trial_that_ends_before_its_time_is_a_refusal() -> None:
    trials = Trials()
    refused: list[str] = []

    def run() -> None:
        try:
            trials.run(DIGITS)
        except ModelRefusedError as error:
            refused.append(error.message)

    thread = threading.Thread(target=run)
    thread.start()
    trials.stop()
    thread.join()
    assert refused == ["digits:1 ended the process in which it was tried: SIGKILL"]


def test_a_version_like_the_last_one_is_not_tried_again(environment: ModelRepository) -> None:
    manifest, trials = environment.load_manifest(*DIGITS), Trials()
    trials.learned(manifest, {1: 0.5})
    assert trials.measure(_resized(manifest, 1.0005)) == {1: 0.5}
    trials.stop()  # from now on every process ends at once
    for other in (_resized(manifest, 1.01), manifest.model_copy(update={"name": "others"})):
        with pytest.raises(ModelRefusedError, match="SIGKILL"):
            trials.measure(other)


def _resized(manifest: Manifest, factor: float) -> Manifest:
    artefacts = tuple(
        Artefact(**{**artefact.model_dump(), "bytes": int(factor * artefact.bytes)})
        for artefact in manifest.artefacts
    )
    return manifest.model_copy(update={"artefacts": artefacts, "version": 2})
