"""What is true of a repository in an object store alone."""

import errno
from collections.abc import Iterator
from functools import partial

import fsspec
import pytest

from services.common.errors import ConfigurationError, ModelNotFoundError, UnavailableError
from services.common.models.cache import FileCache
from services.common.models.manifest import MANIFEST_FILE
from services.common.models.repository import ModelRepository
from services.common.models.stores import filesystem
from services.common.models.stores.filesystem import modified_at
from services.common.models.stores.keys import read_keys
from tests.fixtures_s3 import S3Server
from tests.models.conftest import Place
from tests.models.contents import write_content
from tests.models.faulty import Faulty, Overwriting


def test_a_version_is_there_if_and_only_if_its_manifest_is(object_place: Place) -> None:
    repository = object_place.open()
    repository.publish("small", write_content)
    path = f"small/1/{MANIFEST_FILE}"
    manifest = object_place.read(path)
    object_place.delete(path)
    assert repository.list_models() == ()
    assert repository.versions("small") == ()
    assert repository.generation() == frozenset()
    with pytest.raises(ModelNotFoundError):
        repository.load_manifest("small", 1)
    # As a remover that died left it: the number is taken.
    assert repository.publish("small", write_content).version == 2
    object_place.write(path, manifest)
    assert repository.versions("small") == (1, 2)


def test_a_claimed_number_is_passed_over(object_place: Place) -> None:
    object_place.write("small/1/claim", b"somebody")
    object_place.write("small/7/claim", b"somebody")
    assert object_place.open().publish("small", write_content).version == 8


def test_publishers_that_saw_the_same_numbers_get_different_ones(
    object_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = object_place.open(), object_place.open()
    create = filesystem.Filesystem.create
    others: list[str] = []

    def create_after_the_other(self: filesystem.Filesystem, path: str, content: bytes) -> None:
        if path.endswith("/claim") and not others:
            others.append(path)
            assert two.publish("small", write_content).version == 1
        create(self, path, content)

    monkeypatch.setattr(filesystem.Filesystem, "create", create_after_the_other)
    assert one.publish("small", write_content).version == 2


def test_strange_files_are_no_versions() -> None:
    info = {"size": 1}
    strange = [
        *("notes.txt", "small/notes.txt", "small/01/manifest.json", "small/0/manifest.json"),
        *("small/-1/manifest.json", "small/x/manifest.json", "small/٣/manifest.json"),
        *("No Model/1/manifest.json", "small/1/deep/manifest.json", "/1/manifest.json"),
        *("small/releases/x.json", "small/releases/1", "small/releases/0.json"),
    ]
    assert read_keys(dict.fromkeys(strange, info)) == {}
    (keys,) = read_keys({"small/1/manifest.json": info, "small/2/claim": info}).values()
    assert (keys.versions, keys.next_number, keys.last_change) == ([1], 3, 0)


def test_a_bucket_that_does_not_exist_is_not_an_empty_repository(s3_place: Place) -> None:
    repository = ModelRepository.open("s3://no-such-bucket/models", s3_place.cache)
    with pytest.raises(UnavailableError, match="bucket does not exist") as raised:
        repository.generation()
    assert raised.value.reason == "REPOSITORY_UNAVAILABLE"
    with pytest.raises(UnavailableError, match="bucket does not exist"):
        repository.publish("small", write_content)


@pytest.mark.parametrize("trouble", ["stop", "pause"])
def test_a_server_that_is_gone_is_a_clear_error_until_it_is_back(
    s3_place: Place, s3_server: S3Server, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = s3_place.open()
    manifest = repository.publish("small", write_content)
    before = repository.generation()
    monkeypatch.setattr(filesystem, "CALL_S", 0.3)
    getattr(s3_server, trouble)()
    try:
        for use in (
            repository.generation,
            lambda: repository.load_manifest("small", 1),
            lambda: repository.artefact_path(manifest, "litert"),
            lambda: repository.publish("small", write_content),
            lambda: repository.change_releases("small", lambda releases: releases.promote(1)),
            lambda: repository.remove("small", 1),
        ):
            with pytest.raises(UnavailableError, match=r"s3://.* it did not answer") as raised:
                use()
            assert raised.value.reason == "REPOSITORY_UNAVAILABLE"
    finally:
        {"stop": s3_server.start, "pause": s3_server.resume}[trouble]()
    monkeypatch.undo()
    assert repository.generation() == before
    assert repository.artefact_path(manifest, "litert").read_bytes() == b"model"
    assert repository.publish("small", write_content).version > 1


@pytest.fixture
def memory_of(cache: FileCache) -> Iterator[str]:
    """Registers the faulty stores, and empties them afterwards."""
    for kind in (Overwriting, Faulty):
        fsspec.register_implementation(kind.protocol, kind, clobber=True)
        kind.store, kind.pseudo_dirs = {}, [""]
    yield "models"
    Faulty.created = staticmethod(lambda path: None)
    Faulty.uploaded_bytes = None


def test_a_store_without_exclusive_creation_is_only_read(cache: FileCache, memory_of: str) -> None:
    repository = ModelRepository.open(f"overwriting://{memory_of}", cache)
    for use in (
        lambda: repository.publish("small", write_content),
        lambda: repository.change_releases("small", lambda releases: releases.promote(1)),
    ):
        with pytest.raises(ConfigurationError, match="two writers") as raised:
            use()
        assert raised.value.reason == "REPOSITORY_NOT_EXCLUSIVE"
    assert Overwriting.store == {}
    assert repository.list_models() == ()


@pytest.mark.parametrize(
    "error", [FileExistsError("repeated"), ConnectionError("the answer was lost")]
)
def test_what_was_created_without_an_answer_is_not_taken_for_anothers(
    cache: FileCache, memory_of: str, error: OSError
) -> None:
    repository = ModelRepository.open(f"faulty://{memory_of}", cache)

    def lose_the_answer(path: str) -> None:
        raise error

    repository.publish("small", write_content)
    Faulty.created = staticmethod(lose_the_answer)
    assert repository.publish("small", write_content).version == 2
    assert repository.change_releases("small", lambda releases: releases.promote(2)).sequence == 1


def test_an_upload_that_does_not_arrive_whole_is_no_version(
    cache: FileCache, memory_of: str
) -> None:
    repository = ModelRepository.open(f"faulty://{memory_of}", cache)
    Faulty.uploaded_bytes = 3
    with pytest.raises(UnavailableError, match="did not arrive whole"):
        repository.publish("small", write_content)
    assert [path.rsplit("/", 1)[1] for path in Faulty.store] == ["claim"]
    Faulty.uploaded_bytes = None
    assert repository.publish("small", write_content).version == 2


def test_a_store_that_is_full_is_a_clear_error(cache: FileCache, memory_of: str) -> None:
    repository = ModelRepository.open(f"faulty://{memory_of}", cache)
    repository.publish("small", write_content)

    def refuse(path: str) -> None:
        del Faulty.store[path]
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    Faulty.created = staticmethod(refuse)
    with pytest.raises(UnavailableError, match="Disk quota exceeded"):
        repository.publish("small", write_content)
    assert repository.versions("small") == (1,)


def test_a_download_is_broken_off_when_the_process_is_to_stop(
    object_place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.common.models.stores.objects.RANGE_BYTES", 10)
    repository = object_place.open()
    manifest = repository.publish("small", partial(write_content, model=bytes(100)))
    read_range = filesystem.Filesystem.read_range
    read = []

    def read_and_close(self: filesystem.Filesystem, path: str, start: int, end: int) -> bytes:
        read.append((start, end))
        if start == 20:
            repository.close()
        return read_range(self, path, start, end)

    monkeypatch.setattr(filesystem.Filesystem, "read_range", read_and_close)
    with pytest.raises(UnavailableError, match="closed"):
        repository.artefact_path(manifest, "litert")
    assert read == [(0, 10), (10, 20), (20, 30)]
    monkeypatch.undo()
    assert object_place.open().artefact_path(manifest, "litert").read_bytes() == bytes(100)


def test_the_time_of_a_file_is_found_in_every_listing(object_place: Place) -> None:
    object_place.write("small/1/claim", b"somebody")
    files = filesystem.Filesystem.open(object_place.url)
    (info,) = files.find().values()
    assert modified_at(info) is not None
