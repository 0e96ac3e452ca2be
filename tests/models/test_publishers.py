"""Publishing by real processes, some of which are killed."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.common.models.repository import ModelRepository
from tests.models.contents import write_content

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 60.0


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


@contextmanager
def publisher(
    repository: ModelRepository, count: int, *options: str
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tests.models.publisher"),
            *(str(repository.root), "small", str(count), *options),
        ],
        cwd=ROOT,
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


def test_publishers_at_once_get_different_versions(repository: ModelRepository) -> None:
    with publisher(repository, 8) as one, publisher(repository, 8) as two:
        said = [process.communicate(timeout=TIMEOUT_S)[0] for process in (one, two)]
    numbers = [
        int(line.split()[1])
        for lines in said
        for line in lines.splitlines()
        if line.startswith("published")
    ]
    assert sorted(numbers) == list(range(1, 17))
    assert repository.versions("small") == tuple(range(1, 17))
    for version in range(1, 17):
        repository.verify(repository.load_manifest("small", version))


def test_a_publisher_killed_in_the_middle_leaves_no_version(repository: ModelRepository) -> None:
    with publisher(repository, 1, "pause") as process:
        assert read_line(process) == "building"
        folder = repository.root / "small"
        assert len(list(folder.glob(".staging-*"))) == 1
        assert repository.list_models() == ()
        process.kill()
        process.wait(TIMEOUT_S)
    assert repository.list_models() == ()
    assert repository.publish("small", write_content).version == 1
    assert list(folder.glob(".staging-*")) == []


def test_a_living_publisher_is_left_alone(repository: ModelRepository) -> None:
    with publisher(repository, 1, "pause") as process:
        assert read_line(process) == "building"
        assert repository.publish("small", write_content).version == 1
        said, _ = process.communicate("\n", timeout=TIMEOUT_S)
    assert said.splitlines() == ["published 2"]
    repository.verify(repository.load_manifest("small", 2))


def test_whenever_a_publisher_is_killed_what_can_be_seen_is_whole(
    repository: ModelRepository,
) -> None:
    moments = random.Random(5)
    for _ in range(4):
        with publisher(repository, 10_000) as process:
            for _ in range(moments.randrange(1, 30)):
                assert read_line(process)
            process.kill()
            process.wait(TIMEOUT_S)
        for version in repository.versions("small"):
            repository.verify(repository.load_manifest("small", version))
    versions = repository.versions("small")
    assert versions == tuple(range(1, len(versions) + 1))
    assert repository.publish("small", write_content).version == len(versions) + 1
