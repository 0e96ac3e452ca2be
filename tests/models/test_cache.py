"""Files in the cache are whole, of the right content, and not more than may be."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import pytest

from services.common.errors import ModelRefusedError, UnavailableError
from services.common.models.artefacts import StoredFile
from services.common.models.cache import FileCache
from tests.models.test_publishers import ROOT, TIMEOUT_S

DOWNLOADER = """
import sys
from pathlib import Path
from services.common.models.artefacts import StoredFile
from services.common.models.cache import FileCache

def download(stream):
    stream.write(content[: len(content) // 2])
    stream.flush()
    print("half", flush=True)
    sys.stdin.readline()
    stream.write(content[len(content) // 2 :])

content = bytes.fromhex(sys.argv[3])
stored = StoredFile(file="model.x.bin", sha256=sys.argv[2], bytes=len(content))
print(FileCache(Path(sys.argv[1]), 2**30).get(stored, download), flush=True)
sys.stdin.readline()
"""


class Source:
    """A file elsewhere that counts how often it is downloaded."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.name = f"{self.sha256}.bin"
        self.stored = StoredFile(file="model.x.bin", sha256=self.sha256, bytes=len(content))
        self.downloads = 0

    def download(self, stream: BinaryIO) -> None:
        """Write the file."""
        self.downloads += 1
        stream.write(self.content)

    def get(self, cache: FileCache) -> Path:
        """Return the file in a cache."""
        path = cache.get(self.stored, self.download)
        assert path.read_bytes() == self.content
        return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def source() -> Source:
    return Source(os.urandom(1000))


@contextmanager
def other_process(folder: Path, source: Source) -> Iterator["subprocess.Popen[str]"]:
    """A process that has downloaded half of a file and waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, str(folder), source.sha256, source.content.hex()],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "half\n"
            yield process
        finally:
            process.kill()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_downloaded_once(cache: FileCache, folder: Path, source: Source) -> None:
    assert source.get(cache) == source.get(cache) == source.get(FileCache(folder, 2**30))
    assert source.downloads == 1
    assert names(folder) == {source.name}


@pytest.mark.parametrize("change", ["alter", "cut", "delete"])
def test_what_was_altered_on_the_disk_is_downloaded_again(
    cache: FileCache, source: Source, change: str
) -> None:
    path = source.get(cache)
    match change:
        case "alter":
            path.write_bytes(bytes(len(source.content)))
        case "cut":
            path.write_bytes(source.content[:-1])
        case _:
            path.unlink()
    source.get(cache)
    assert source.downloads == 2


def test_a_failed_download_leaves_nothing(cache: FileCache, folder: Path, source: Source) -> None:
    def download(stream: BinaryIO) -> None:
        stream.write(b"torn")
        raise ModelRefusedError("no good")

    with pytest.raises(ModelRefusedError, match="no good"):
        cache.get(source.stored, download)
    assert names(folder) == set()
    source.get(cache)


def test_what_a_dead_download_left_is_never_used(
    cache: FileCache, folder: Path, source: Source
) -> None:
    with other_process(folder, source) as process:
        process.kill()
        process.wait(TIMEOUT_S)
    assert names(folder) == {f"{source.name}.part"}
    other = Source(b"something else")
    other.get(cache)
    assert names(folder) == {other.name}
    source.get(cache)
    assert names(folder) == {other.name, source.name}


@pytest.mark.parametrize("dies", [False, True])
def test_two_processes_do_not_download_the_same(
    cache: FileCache, folder: Path, source: Source, dies: bool
) -> None:
    with other_process(folder, source) as process:
        waiting = threading.Thread(target=source.get, args=(cache,))
        waiting.start()
        assert process.stdin is not None
        assert process.stdout is not None
        if dies:
            process.send_signal(signal.SIGKILL)
        else:
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline().strip() == str(folder / source.name)
        waiting.join(TIMEOUT_S)
        assert not waiting.is_alive()
    assert source.downloads == dies
    assert names(folder) == {source.name}


def test_whoever_is_to_stop_waits_for_nobody(
    cache: FileCache, folder: Path, source: Source
) -> None:
    with other_process(folder, source) as process:
        cache.close()
        with pytest.raises(UnavailableError, match="another process has been downloading"):
            source.get(cache)
        process.kill()
    assert source.downloads == 0


def test_many_at_once_download_once(folder: Path, source: Source) -> None:
    caches = [FileCache(folder, 2**30) for _ in range(8)]
    threads = [threading.Thread(target=source.get, args=(cache,)) for cache in caches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT_S)
    for cache in caches:
        cache.close()
    assert source.downloads == 1
    assert names(folder) == {source.name}


def test_the_least_recently_used_goes_first(folder: Path) -> None:
    sources = [Source(os.urandom(1000)) for _ in range(4)]
    for number, source in enumerate(sources[:3]):
        cache = FileCache(folder, 3000)
        os.utime(source.get(cache), (number, number))
        cache.close()
    cache = FileCache(folder, 3000)
    sources[0].get(cache)  # used now
    cache.close()
    sources[3].get(cache)
    assert names(folder) == {sources[number].name for number in (0, 2, 3)}
    cache.close()


def test_what_somebody_holds_stays(cache: FileCache, folder: Path, source: Source) -> None:
    source.get(cache)
    small = FileCache(folder, 1500)
    other, third = Source(os.urandom(1000)), Source(os.urandom(1000))
    other.get(small)
    assert names(folder) == {source.name, other.name}
    small.close()
    third.get(small)
    assert names(folder) == {source.name, third.name}
    cache.close()
    other.get(FileCache(folder, 1500))
    assert source.name not in names(folder)


def test_a_file_that_is_larger_than_the_limit_is_kept_alone(folder: Path, source: Source) -> None:
    cache = FileCache(folder, 10)
    Source(b"small").get(cache)
    cache.close()
    source.get(cache)
    assert names(folder) == {source.name}
    cache.close()


def test_files_of_others_are_left_alone(folder: Path, source: Source) -> None:
    folder.mkdir()
    for name in ("photo.jpg", "notes.part", "x" * 64, "0" * 63):
        (folder / name).write_bytes(bytes(5000))
    cache = FileCache(folder, 10)
    source.get(cache)
    cache.close()
    assert names(folder) == {"photo.jpg", "notes.part", "x" * 64, "0" * 63, source.name}


def test_few_files_stay_locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.models.cache.KEPT_LOCKS", 2)
    cache = FileCache(folder, 10)
    sources = [Source(bytes([number])) for number in range(5)]
    for source in sources:
        source.get(cache)
    Source(os.urandom(100)).get(cache)
    assert {source.name for source in sources[-2:]} < names(folder)
    assert not {source.name for source in sources[:3]} & names(folder)
    cache.close()


def test_a_full_disk_is_a_clear_error_and_leaves_nothing(
    cache: FileCache, folder: Path, source: Source
) -> None:
    # The kernel refuses to let a file grow, as it does on a full disk; Python ignores the signal.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        with pytest.raises(UnavailableError, match="cannot hold a file of 1000 bytes") as raised:
            source.get(cache)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert raised.value.reason == "CACHE_UNAVAILABLE"
    assert names(folder) == set()
    source.get(cache)


def test_a_folder_that_cannot_be_is_a_clear_error(tmp_path: Path, source: Source) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UnavailableError, match="cannot hold a file") as raised:
        source.get(FileCache(tmp_path / "file" / "cache", 2**30))
    assert raised.value.reason == "CACHE_UNAVAILABLE"
