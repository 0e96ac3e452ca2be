import os
from pathlib import Path

import pytest

from services.common.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    ModelRefusedError,
    UnavailableError,
)
from services.common.models import staging
from services.common.models.manifest import MANIFEST_FILE, Manifest, VersionContent
from services.common.models.repository import ModelRepository
from tests.models.contents import write_content


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


@pytest.fixture
def published(repository: ModelRepository) -> Manifest:
    return repository.publish("small", write_content)


def test_urls_and_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    assert ModelRepository.open(folder.as_uri()).root == folder
    assert ModelRepository.open(str(folder)).root == folder
    monkeypatch.chdir(tmp_path)
    assert ModelRepository.open("models").root == tmp_path / "models"


@pytest.mark.parametrize("url", ["s3://bucket/models", "file://host/models", "", "file://"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="model repository"):
        ModelRepository.open(url)


def test_a_repository_that_does_not_exist_yet_is_empty(repository: ModelRepository) -> None:
    assert repository.list_models() == ()
    assert repository.versions("small") == ()
    assert repository.generation() == frozenset()
    with pytest.raises(ModelNotFoundError, match="no model 'small'"):
        repository.latest("small")
    with pytest.raises(ModelNotFoundError, match="no version 1 of model 'small'"):
        repository.load_manifest("small", 1)


def test_a_version_is_found_again(repository: ModelRepository, published: Manifest) -> None:
    assert published.version == 1
    assert repository.list_models() == ("small",)
    assert repository.load_manifest("small", 1) == published
    path = repository.artefact_path(published, "litert")
    assert path.read_bytes() == b"model"
    assert len(repository.golden_examples(published).images) == 2
    repository.verify(published)


def test_versions_count_up(repository: ModelRepository, published: Manifest) -> None:
    numbers = [repository.publish("small", write_content).version for _ in range(11)]
    assert numbers == list(range(2, 13))
    assert repository.versions("small") == tuple(range(1, 13))
    assert repository.latest("small") == 12


def test_a_removed_number_is_not_used_again(
    repository: ModelRepository, published: Manifest
) -> None:
    repository.publish("small", write_content)
    repository.remove("small", 2)
    assert repository.versions("small") == (1,)
    repository.remove("small", 1)
    assert repository.list_models() == ()
    assert repository.publish("small", write_content).version == 3


def test_removing_what_is_not_there(repository: ModelRepository, published: Manifest) -> None:
    for name, version in (("small", 2), ("other", 1)):
        with pytest.raises(ModelNotFoundError, match=f"no version {version} of model '{name}'"):
            repository.remove(name, version)
    assert repository.publish("small", write_content).version == 2


@pytest.mark.parametrize("name", ["..", "A", "a/b", ""])
def test_bad_names_touch_nothing(repository: ModelRepository, name: str) -> None:
    for use in (
        lambda: repository.publish(name, write_content),
        lambda: repository.load_manifest(name, 1),
        lambda: repository.versions(name),
        lambda: repository.remove(name, 1),
    ):
        with pytest.raises(InvalidRequestError):
            use()
    assert not repository.root.exists()


def test_the_generation_changes_with_the_versions(
    repository: ModelRepository, published: Manifest
) -> None:
    first = repository.generation()
    assert first == repository.generation()
    repository.publish("small", write_content)
    second = repository.generation()
    assert first < second
    repository.remove("small", 2)
    assert repository.generation() == first


def test_strange_entries_are_no_versions(repository: ModelRepository, published: Manifest) -> None:
    before = repository.generation()
    for name in ("01", "0", "x", "-1", "1.5", "٣", ".staging-x"):
        (repository.root / "small" / name).mkdir()
    (repository.root / "small" / "9").write_text("a file")
    (repository.root / "No Model" / "1").mkdir(parents=True)
    (repository.root / "notes.txt").write_text("a file")
    assert repository.generation() == before
    assert repository.versions("notes.txt") == ()


def _altered(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["model.litert", "golden.npz"])
def test_files_that_are_not_whole_are_refused(
    repository: ModelRepository, published: Manifest, file: str
) -> None:
    path = repository.root / "small" / "1" / file
    _altered(path)
    with pytest.raises(ModelRefusedError, match=f"{file} was altered"):
        repository.verify(published)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelRefusedError, match=f"{file} has .* bytes, and its manifest says"):
        repository.verify(published)
    path.unlink()
    with pytest.raises(ModelRefusedError, match=f"{file} cannot be read"):
        repository.verify(published)


def test_a_bad_artefact_is_not_handed_out(repository: ModelRepository, published: Manifest) -> None:
    _altered(repository.root / "small" / "1" / "model.litert")
    with pytest.raises(ModelRefusedError, match="altered"):
        repository.artefact_path(published, "litert")
    with pytest.raises(ModelRefusedError, match="no keras artefact"):
        repository.artefact_path(published, "keras")


def test_bad_manifests_are_refused(repository: ModelRepository, published: Manifest) -> None:
    path = repository.root / "small" / "1" / MANIFEST_FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(ModelRefusedError, match=r"manifest\.json is torn"):
        repository.load_manifest("small", 1)
    path.unlink()
    with pytest.raises(ModelRefusedError, match=r"manifest\.json cannot be read"):
        repository.load_manifest("small", 1)


def test_a_copied_folder_is_not_another_version(
    repository: ModelRepository, published: Manifest
) -> None:
    (repository.root / "small" / "1").rename(repository.root / "small" / "5")
    with pytest.raises(ModelRefusedError, match="belongs to small:1"):
        repository.load_manifest("small", 5)


def test_a_failed_build_leaves_nothing(repository: ModelRepository) -> None:
    def build(folder: Path) -> VersionContent:
        write_content(folder)
        raise ModelRefusedError("no good")

    with pytest.raises(ModelRefusedError, match="no good"):
        repository.publish("small", build)
    assert repository.list_models() == ()
    assert list((repository.root / "small").glob(".staging*")) == []


def test_a_build_that_claims_other_files_is_refused(repository: ModelRepository) -> None:
    def build(folder: Path) -> VersionContent:
        content = write_content(folder)
        (folder / "model.litert").write_bytes(b"other")
        return content

    with pytest.raises(ModelRefusedError, match="altered"):
        repository.publish("small", build)
    assert repository.list_models() == ()


def test_a_disk_that_refuses_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the way")
    with pytest.raises(UnavailableError, match="cannot write a version of 'small'") as raised:
        ModelRepository(tmp_path / "models").publish("small", write_content)
    assert raised.value.reason == "REPOSITORY_UNAVAILABLE"


def test_published_files_can_be_read_by_others(
    repository: ModelRepository, published: Manifest
) -> None:
    previous = os.umask(0o022)
    try:
        repository.publish("small", write_content)
    finally:
        os.umask(previous)
    folder = repository.root / "small" / "2"
    assert folder.stat().st_mode & 0o055 == 0o055
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_a_lock_held_for_good_is_a_clear_error(
    repository: ModelRepository, published: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "LOCK_TIMEOUT_S", 0.05)
    folder = repository.root / "small"

    def finish(version: int) -> None:
        # The number is being given out: the lock is held here.
        with pytest.raises(UnavailableError, match="has held the lock") as raised:
            repository.remove("small", 1)
        assert raised.value.reason == "REPOSITORY_LOCKED"

    with staging.staging_folder(folder) as staged:
        write_content(staged)
        staging.publish(folder, staged, finish)
    assert repository.versions("small") == (1, 2)
