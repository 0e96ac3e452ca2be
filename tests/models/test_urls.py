"""Where a repository may lie, and what is said of other places."""

import subprocess
import sys
from pathlib import Path

import pytest

from services.common.errors import ConfigurationError, InvalidRequestError
from services.common.models.cache import FileCache
from services.common.models.repository import ModelRepository
from tests.models.contents import write_content


def test_folders_are_paths_or_file_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with space"
    assert ModelRepository.open(folder.as_uri()).root == folder
    assert ModelRepository.open(str(folder)).root == folder
    monkeypatch.chdir(tmp_path)
    assert ModelRepository.open("models").root == tmp_path / "models"
    assert ModelRepository.open("models").url == str(tmp_path / "models")


def test_other_urls_are_fsspecs(cache: FileCache) -> None:
    repository = ModelRepository.open("memory://some/where/", cache)
    assert repository.url == "memory://some/where"
    with pytest.raises(ConfigurationError, match="memory://some/where is not a folder"):
        _ = repository.root


@pytest.mark.parametrize("url", ["file://host/models", "", "file://", "nothing://a/b"])
def test_what_is_nowhere_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError, match="model repository"):
        ModelRepository.open(url)


def test_a_missing_package_is_named() -> None:
    program = (
        "import sys; sys.modules.update(s3fs=None, gcsfs=None)\n"  # as if they were not there
        "from services.common.errors import ConfigurationError\n"
        "from services.common.models.repository import ModelRepository\n"
        "for url in ('s3://bucket/models', 'gs://bucket/models'):\n"
        "    try: ModelRepository.open(url)\n"
        "    except ConfigurationError as error: print(error.reason, error.message)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    s3, gs = run.stdout.splitlines()
    assert s3.startswith("PACKAGE_MISSING")
    assert s3.endswith("pip install 'facet[s3]'")
    assert "install gcsfs" in gs


def test_the_cache_is_that_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_CACHE", str(tmp_path / "kept"))
    repository = ModelRepository.open(f"memory://{tmp_path.name}-environment")
    manifest = repository.publish("small", write_content)
    assert repository.artefact_path(manifest, "litert").parent == tmp_path / "kept"
