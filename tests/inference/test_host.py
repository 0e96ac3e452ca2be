"""A host keeps in step with the repository and says what it refused."""

from functools import partial
from pathlib import Path

import pytest

from services.common.errors import ModelNotFoundError, ModelRefusedError, UnavailableError
from services.common.models.cache import FileCache
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.models.stores import filesystem
from services.inference.loaded_model import LoadedModel, warm_sizes
from tests.fixtures_s3 import S3Server
from tests.inference.models import host_of, load, pictures, repository_in, scores_of
from tests.models.contents import write_content

CATS, DOGS = ModelKey("cats", 1), ModelKey("dogs", 1)


class Watched:
    """A host on a repository, and what it told."""

    def __init__(self, repository: ModelRepository, keep_versions: int = 2) -> None:
        self.repository = repository
        self.refuse: set[ModelKey] = set()
        self.refusal: Exception = ModelRefusedError("it bites")
        self.loads: list[ModelKey] = []
        self.changes = 0
        self.host = host_of(repository, self._load, self._changed, keep_versions=keep_versions)

    @property
    def keys(self) -> list[str]:
        """What is loaded."""
        models = (descriptor.model for descriptor in self.host.descriptors)
        return [str(ModelKey.from_message(model)) for model in models]

    def _load(self, key: ModelKey, _: bool) -> LoadedModel:
        self.loads.append(key)
        if key in self.refuse:
            raise self.refusal
        return load(self.repository, key)

    def _changed(self) -> None:
        self.changes += 1


async def test_every_model_is_loaded(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs"))
    await watched.host.refresh()
    assert watched.keys == ["cats:1", "dogs:1"]
    assert watched.host.find(CATS).key == CATS
    with pytest.raises(ModelNotFoundError):
        watched.host.find(ModelKey("cats", 2))
    assert watched.changes == 3  # the shelf, and each model
    watched.host.close()


async def test_nothing_is_loaded_twice(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats"))
    for _ in range(3):
        await watched.host.refresh()
    watched.repository.publish("dogs", write_content)
    await watched.host.refresh()
    assert watched.loads == [CATS, DOGS]
    watched.host.close()


async def test_only_the_newest_versions_stay(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats"), keep_versions=2)
    await watched.host.refresh()
    for _ in range(3):
        watched.repository.publish("cats", write_content)
        await watched.host.refresh()
    assert watched.keys == ["cats:3", "cats:4"]
    watched.host.close()


async def test_a_removed_model_is_unloaded_but_a_batch_may_hold_it(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs"))
    await watched.host.refresh()
    held = watched.host.find(DOGS)
    watched.repository.remove("dogs", 1)
    await watched.host.refresh()
    assert watched.keys == ["cats:1"]
    assert (held.version.engine.run(pictures(3)) == scores_of(3)).all()
    watched.host.close()


async def test_a_refused_version_is_told_and_harms_nothing(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs"))
    watched.refuse = {DOGS}
    await watched.host.refresh()
    assert watched.keys == ["cats:1"]
    assert dict(watched.host.refused) == {DOGS: "it bites"}
    await watched.host.refresh()
    assert watched.loads.count(DOGS) == 1
    watched.refuse = set()
    watched.repository.publish("dogs", write_content)
    await watched.host.refresh()
    assert watched.keys == ["cats:1", "dogs:1", "dogs:2"]
    assert not watched.host.refused  # it was tried again
    watched.host.close()


async def test_whatever_is_wrong_with_a_version_the_others_are_served(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs"))
    watched.refuse, watched.refusal = {CATS}, ZeroDivisionError()
    await watched.host.refresh()
    assert watched.keys == ["dogs:1"]
    assert dict(watched.host.refused) == {CATS: "ZeroDivisionError()"}
    watched.host.close()


async def test_a_refused_version_that_is_removed_is_forgotten(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs"))
    watched.refuse = {DOGS}
    await watched.host.refresh()
    changes = watched.changes
    watched.repository.remove("dogs", 1)
    await watched.host.refresh()
    assert not watched.host.refused
    assert watched.changes > changes
    watched.host.close()


async def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    repository = repository_in(tmp_path, "cats")
    (repository.root / "cats" / "1" / "manifest.json").write_text("{}")
    host = host_of(repository, partial(load, repository))
    await host.refresh()
    assert not host.descriptors
    assert CATS in host.refused
    host.close()


async def test_a_version_whose_files_could_not_be_had_is_tried_again(tmp_path: Path) -> None:
    watched = Watched(repository_in(tmp_path, "cats", "dogs", "owls"))
    watched.refuse, watched.refusal = {CATS, DOGS}, UnavailableError("the network is down")
    await watched.host.refresh()
    assert watched.keys == ["owls:1"]
    assert dict(watched.host.refused) == {
        CATS: "the network is down",
        DOGS: "the network is down",
    }
    watched.refuse = {DOGS}
    watched.refusal = ModelRefusedError("it bites")
    await watched.host.refresh()
    assert watched.keys == ["cats:1", "owls:1"]
    await watched.host.refresh()
    assert watched.loads.count(DOGS) == 2
    assert watched.loads.count(CATS) == 2
    assert dict(watched.host.refused) == {DOGS: "it bites"}
    watched.host.close()


async def test_a_shard_goes_on_while_the_repository_is_gone(
    tmp_path: Path, s3_server: S3Server, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = ModelRepository.open(s3_url, FileCache(tmp_path / "cache", 2**30))
    repository.publish("cats", write_content)
    monkeypatch.setattr(filesystem, "CALL_S", 0.3)
    early = host_of(repository, partial(load, repository))
    late = host_of(repository, partial(load, repository))
    await early.try_refresh()
    s3_server.stop()
    try:
        await early.try_refresh()
        await late.try_refresh()
        assert [len(host.descriptors) for host in (early, late)] == [1, 0]
    finally:
        s3_server.start()
    monkeypatch.undo()
    repository.publish("dogs", write_content)
    for host in (early, late):
        await host.try_refresh()
        assert [descriptor.model.name for descriptor in host.descriptors] == ["cats", "dogs"]
        host.close()


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, [1]), (2, [1, 2]), (7, [1, 2, 4, 7]), (8, [1, 2, 4, 8]), (33, [1, 2, 4, 8, 16, 32, 33])],
)
def test_powers_of_two_and_the_largest_batch_are_warmed(largest: int, sizes: list[int]) -> None:
    assert warm_sizes(largest) == sizes
