"""What is true of a repository in a folder alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.errors import ModelRefusedError, UnavailableError
from services.common.models.manifest import MANIFEST_FILE, Manifest
from services.common.models.repository import ModelRepository
from services.common.models.stores import staging
from tests.models.contents import write_content


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


@pytest.fixture
def published(repository: ModelRepository) -> Manifest:
    return repository.publish("small", write_content)


def test_strange_entries_are_no_versions(repository: ModelRepository, published: Manifest) -> None:
    before = repository.generation()
    for name in ("01", "0", "x", "-1", "1.5", "٣", ".staging-x"):
        (repository.root / "small" / name).mkdir()
    (repository.root / "small" / "9").write_text("a file")
    (repository.root / "No Model" / "1").mkdir(parents=True)
    (repository.root / "notes.txt").write_text("a file")
    assert repository.generation() == before
    assert repository.versions("notes.txt") == ()


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


def test_a_folder_without_a_manifest_is_refused(
    repository: ModelRepository, published: Manifest
) -> None:
    (repository.root / "small" / "1" / MANIFEST_FILE).unlink()
    with pytest.raises(ModelRefusedError, match=r"manifest\.json cannot be read"):
        repository.load_manifest("small", 1)


def test_a_folder_needs_no_fsspec() -> None:
    program = (
        "import sys; from services.common.models.repository import ModelRepository;"
        "ModelRepository.open('file:///tmp/no/such/folder').generation();"
        "print({'fsspec', 's3fs', 'botocore'} & sys.modules.keys())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "set()\n"
