"""Real models in a repository: import the fixtures where they are needed.

from tests.fixtures_models import digits_repository, photo_repository  # noqa: F401

They are made once, in a process of their own, and kept in pytest's cache until the code that made
them changes. Each fixture is a copy, which tests may add to.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

from services.common.models.repository import ModelRepository

ROOT = Path(__file__).resolve().parent.parent
BUILD_TIMEOUT_S = 300.0
STALE_S = 24 * 3600.0


@pytest.fixture(scope="session")
def digits_repository(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModelRepository:
    """A repository with `digits` version 1, trained for real."""
    folder = tmp_path_factory.mktemp("digits") / "models"
    _copy(request, tmp_path_factory, folder, "digits")
    return ModelRepository(folder)


@pytest.fixture(scope="session")
def digits_build_output(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """What the process that trained the digits wrote to its standard output and error."""
    return (_made(request, tmp_path_factory, "digits") / "output.txt").read_text("utf-8")


@pytest.fixture(scope="session")
def pair_repository(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> ModelRepository:
    """A repository with `digits` version 1 and `second` version 1, which was trained for less."""
    folder = tmp_path_factory.mktemp("pair") / "models"
    _copy(request, tmp_path_factory, folder, "digits")
    _copy(request, tmp_path_factory, folder, "second")
    return ModelRepository(folder)


@pytest.fixture(scope="session")
def photo_repository(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, test_data: Path
) -> ModelRepository:
    """A repository with `digits` version 1 and `mobilenet` version 1 (MobileNetV2, 224 x 224)."""
    folder = tmp_path_factory.mktemp("photos") / "models"
    _copy(request, tmp_path_factory, folder, "digits")
    _copy(request, tmp_path_factory, folder, "photos", str(test_data))
    return ModelRepository(folder)


def _copy(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    folder: Path,
    what: str,
    *arguments: str,
) -> None:
    made = _made(request, tmp_path_factory, what, *arguments)
    shutil.copytree(made / "models", folder, dirs_exist_ok=True)


def _made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    what: str,
    *arguments: str,
) -> Path:
    cache = request.config.cache
    kept = cache.mkdir("facet_models") if cache else tmp_path_factory.getbasetemp()
    made = kept / f"{what}-{_key(*arguments)}"
    with (kept / f"{what}.lock").open("w") as lock:
        # Another process of these tests may be at it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            _remove_stale(kept)
            _build(made, what, *arguments)
    return made


def _build(made: Path, what: str, *arguments: str) -> None:
    with tempfile.TemporaryDirectory(dir=made.parent, prefix="making-") as parent:
        folder = Path(parent) / "made"
        folder.mkdir()
        run = subprocess.run(
            [sys.executable, "-m", "tests.build_models", what, str(folder / "models"), *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=BUILD_TIMEOUT_S,
            check=False,
        )
        if run.returncode:
            pytest.fail(f"cannot build the models {what!r}:\n{run.stdout}")
        (folder / "output.txt").write_text(run.stdout, "utf-8")
        folder.rename(made)


def _key(*arguments: str) -> str:
    digest = hashlib.sha256()
    for source in sorted(_sources()):
        digest.update(source.read_bytes())
    for package in ("tensorflow-cpu", "tensorflow", "keras", "ai-edge-litert"):
        digest.update(_version(package).encode())
    digest.update("\n".join(arguments).encode())
    return digest.hexdigest()[:16]


def _sources() -> Iterator[Path]:
    yield ROOT / "tests" / "build_models.py"
    for folder in ("common/models", "training"):
        yield from (ROOT / "services" / folder).rglob("*.py")


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:
        return ""


def _remove_stale(kept: Path) -> None:
    for folder in kept.iterdir():
        if time.time() - folder.stat().st_mtime > STALE_S:
            shutil.rmtree(folder, ignore_errors=True)
