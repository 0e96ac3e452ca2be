"""Publishing by real processes, some of which are killed."""

import os
import random
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from services.common.errors import ModelNotFoundError, ModelRefusedError
from services.common.models.cache import FileCache
from services.common.models.manifest import MANIFEST_FILE
from services.common.models.repository import ModelRepository
from services.common.models.stores import objects
from tests.models.conftest import Place, make_place
from tests.models.contents import write_content

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 60.0


@pytest.fixture(params=["path", "s3"])
def place(request: pytest.FixtureRequest, cache: FileCache) -> Place:
    return make_place(request.param, request, cache)


@pytest.fixture
def folder(request: pytest.FixtureRequest, cache: FileCache) -> ModelRepository:
    return make_place("path", request, cache).open()


@contextmanager
def publisher(
    where: Place | ModelRepository, count: int, *options: str
) -> Iterator["subprocess.Popen[str]"]:
    # What a killed process leaves in its folder for temporary files goes with that.
    with tempfile.TemporaryDirectory() as scratch:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.models.publisher"),
                *(where.url, "small", str(count), *options),
            ],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": scratch},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                yield process
            finally:
                process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_publishers_at_once_get_different_versions(
    place: Place, repository: ModelRepository
) -> None:
    with publisher(place, 4) as one, publisher(place, 4) as two:
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in (one, two)]
    numbers = [
        int(line.split()[1])
        for lines in said
        for line in lines.splitlines()
        if line.startswith("published")
    ]
    assert sorted(numbers) == list(range(1, 9))
    assert repository.versions("small") == tuple(range(1, 9))
    for version in range(1, 9):
        repository.verify(repository.load_manifest("small", version))


def test_whoever_reads_meanwhile_sees_whole_versions(
    place: Place, repository: ModelRepository
) -> None:
    seen = 0
    with publisher(place, 3) as process:
        while process.poll() is None:
            for version in repository.versions("small"):
                repository.verify(repository.load_manifest("small", version))
                seen = max(seen, version)
        process.communicate()
    assert repository.versions("small") == (1, 2, 3)
    assert seen <= 3


def test_whoever_reads_meanwhile_never_gets_a_part_of_what_is_removed(
    place: Place, repository: ModelRepository
) -> None:
    with publisher(place, 4) as process:
        process.communicate(timeout=TIMEOUT_S)
    manifests = [repository.load_manifest("small", version) for version in range(1, 5)]

    def remove_all() -> None:
        for manifest in manifests:
            repository.remove("small", manifest.version)

    remover = threading.Thread(target=remove_all)
    remover.start()
    while remover.is_alive():
        for manifest in manifests:
            with suppress(ModelRefusedError, ModelNotFoundError):
                assert repository.load_manifest("small", manifest.version) == manifest
                path = repository.artefact_path(manifest, "litert")
                with suppress(FileNotFoundError):
                    assert path.read_bytes() == bytes(200_000)
    remover.join()
    assert repository.versions("small") == ()


def test_a_publisher_killed_in_the_middle_leaves_no_version(folder: ModelRepository) -> None:
    with publisher(folder, 1, "pause") as process:
        assert read_line(process) == "building"
        small = folder.root / "small"
        assert len(list(small.glob(".staging-*"))) == 1
        assert folder.list_models() == ()
        process.kill()
        process.wait(TIMEOUT_S)
    assert folder.list_models() == ()
    assert folder.publish("small", write_content).version == 1
    assert list(small.glob(".staging-*")) == []


def test_a_living_publisher_is_left_alone(folder: ModelRepository) -> None:
    with publisher(folder, 1, "pause") as process:
        assert read_line(process) == "building"
        assert folder.publish("small", write_content).version == 1
        said, _ = process.communicate("\n", timeout=TIMEOUT_S)
    assert said.splitlines() == ["published 2"]
    folder.verify(folder.load_manifest("small", 2))


def test_whenever_a_publisher_is_killed_what_can_be_seen_is_whole(
    place: Place,
    repository: ModelRepository,
) -> None:
    moments = random.Random(5)
    times, most = (4, 30) if place.url.startswith("/") else (2, 10)
    for _ in range(times):
        with publisher(place, 10_000) as process:
            for _ in range(moments.randrange(1, most)):
                assert read_line(process)
            process.kill()
            process.wait(TIMEOUT_S)
        for version in repository.versions("small"):
            repository.verify(repository.load_manifest("small", version))
    versions = repository.versions("small")
    # In an object store a number that a dead publisher had claimed is lost.
    assert versions == tuple(range(1, len(versions) + 1)) or place.url.startswith("s3")
    assert repository.publish("small", write_content).version > max(versions)


@pytest.mark.parametrize("files", [0, 1])
def test_a_publisher_killed_between_uploads_leaves_no_version(
    s3_place: Place, files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = s3_place.open()
    first = repository.publish("small", write_content)
    with publisher(s3_place, 1, "pause-upload") as process:
        assert process.stdin is not None
        assert read_line(process) == "building"
        for _ in range(files):
            assert read_line(process).startswith("uploading")
            process.stdin.write("\n")
            process.stdin.flush()
        assert read_line(process).startswith("uploading")
        left = [path for path in s3_place.paths() if path.startswith("small/2/")]
        process.kill()
        process.wait(TIMEOUT_S)
    assert len(left) == 1 + files
    assert len(repository.generation()) == 1
    assert repository.versions("small") == (1,)
    with pytest.raises(ModelNotFoundError):
        repository.load_manifest("small", 2)
    # What it left is not touched at first, as it might be at work still, ...
    assert repository.publish("small", write_content).version == 3
    assert set(left) <= set(s3_place.paths())
    # ... and goes after a day, all but the claim.
    monkeypatch.setattr(objects, "LEFTOVER_S", -60.0)
    assert repository.publish("small", write_content).version == 4
    assert [path for path in s3_place.paths() if path.startswith("small/2/")] == ["small/2/claim"]
    for version in (1, 3, 4):
        repository.verify(repository.load_manifest("small", version))
    assert repository.load_manifest("small", 1) == first


def test_a_living_publisher_to_an_object_store_is_left_alone(s3_place: Place) -> None:
    repository = s3_place.open()
    with publisher(s3_place, 1, "pause-upload") as process:
        assert read_line(process) == "building"
        assert read_line(process).startswith("uploading")
        assert repository.publish("small", write_content).version == 2
        assert repository.versions("small") == (2,)
        said, _ = process.communicate("\n\n", timeout=TIMEOUT_S)
    assert said.splitlines()[-1] == "published 1"
    assert f"small/1/{MANIFEST_FILE}" in s3_place.paths()
    repository.verify(repository.load_manifest("small", 1))
