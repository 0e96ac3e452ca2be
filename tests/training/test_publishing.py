"""Which version answers to the bare name after a training."""

from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.common.models.manifest import Manifest, VersionContent
from services.common.models.repository import ModelRepository
from services.training.publishing import HELD_OUT_ACCURACY, HELD_OUT_DIGEST, Promotion, release
from tests.models.contents import write_content


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


def publish(
    repository: ModelRepository, accuracy: float | None, digest: str | None = "same"
) -> Manifest:
    """Publish a version that was measured so; None: it was not."""

    def write(folder: Path) -> VersionContent:
        return write_content(folder).model_copy(
            update={
                "metrics": {} if accuracy is None else {HELD_OUT_ACCURACY: accuracy},
                "training": None if digest is None else {HELD_OUT_DIGEST: digest},
            }
        )

    return repository.publish("digits", write)


def trained(
    repository: ModelRepository,
    accuracy: float,
    digest: str = "same",
    *,
    wanted: bool | None = None,
) -> Promotion:
    """Publish a version and decide about it."""
    return release(repository, publish(repository, accuracy, digest), wanted)


def promoted(repository: ModelRepository) -> int | None:
    return repository.releases("digits").promoted


def test_the_first_version_is_promoted(repository: ModelRepository) -> None:
    assert trained(repository, 0.1) == Promotion(True, "it is the first version")
    assert promoted(repository) == 1


def test_a_version_that_is_no_worse_is_promoted(repository: ModelRepository) -> None:
    trained(repository, 0.9)
    assert trained(repository, 0.9).promoted
    assert trained(repository, 0.95) == Promotion(
        True, "95.00% right, and digits:2 has 90.00% on the same pictures"
    )
    assert repository.releases("digits").history == (1, 2)


def test_a_worse_version_is_published_only(repository: ModelRepository) -> None:
    trained(repository, 0.9)
    assert trained(repository, 0.89) == Promotion(
        False, "89.00% right, and digits:1 has 90.00% on the same pictures"
    )
    assert (promoted(repository), repository.latest("digits")) == (1, 2)


@pytest.mark.parametrize("digest", ["other", None])
def test_what_was_measured_on_other_pictures_cannot_be_compared(
    repository: ModelRepository, digest: str | None
) -> None:
    release(repository, publish(repository, 0.5, digest), wanted=True)
    decided = trained(repository, 0.9)
    assert decided == Promotion(False, "digits:1 was measured on other held-out pictures")
    assert promoted(repository) == 1


def test_what_was_never_measured_cannot_be_compared(repository: ModelRepository) -> None:
    release(repository, publish(repository, None, None), wanted=True)
    decided = trained(repository, 0.9)
    assert decided == Promotion(False, "digits:1 was never measured on held-out pictures")


def test_where_nobody_ever_promoted_the_newest_goes_on_to_answer(
    repository: ModelRepository,
) -> None:
    publish(repository, 0.9)
    assert not trained(repository, 0.95).promoted
    assert promoted(repository) is None
    assert repository.releases("digits").current(repository.versions("digits")) == 2


def test_a_wish_is_stronger_than_figures(repository: ModelRepository) -> None:
    assert trained(repository, 0.9, wanted=False) == Promotion(False, "as was asked for")
    assert promoted(repository) is None
    trained(repository, 0.9, wanted=True)
    trained(repository, 0.1, wanted=True)
    trained(repository, 0.99, wanted=False)
    assert promoted(repository) == 3


def test_a_promoted_version_that_cannot_be_read_stays(repository: ModelRepository) -> None:
    trained(repository, 0.9)
    (repository.root / "digits" / "1" / "manifest.json").write_text("{")
    decided = trained(repository, 0.95)
    assert not decided.promoted
    assert "manifest.json is torn" in decided.why
    assert promoted(repository) == 1


def test_what_another_process_decides_meanwhile_is_heeded(
    repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(repository, 0.5)
    mine, better = publish(repository, 0.6), publish(repository, 0.7)
    read, other = repository.releases, ModelRepository(repository.root)

    def releases(name: str) -> object:
        found = read(name)
        if other.releases(name).promoted == 1:
            # After this process has read, and before it writes.
            release(other, better, wanted=True)
        return found

    monkeypatch.setattr(repository, "releases", releases)
    decided = release(repository, mine, None)
    assert decided == Promotion(False, "60.00% right, and digits:3 has 70.00% on the same pictures")
    assert promoted(other) == 3


def test_a_version_that_was_retired_meanwhile_is_not_promoted(repository: ModelRepository) -> None:
    trained(repository, 0.5)
    new = publish(repository, 0.9)
    repository.change_releases("digits", lambda releases: releases.retire(new.version))
    with pytest.raises(InvalidRequestError, match="version 2 is retired") as raised:
        release(repository, new, None)
    assert raised.value.reason == "RETIRED"
