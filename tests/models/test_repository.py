"""What is true of every repository, wherever it lies."""

from functools import partial
from pathlib import Path

import pytest

from services.common.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    ModelRefusedError,
)
from services.common.models.manifest import MANIFEST_FILE, Manifest, VersionContent
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository
from tests.models.conftest import Place
from tests.models.contents import write_content


@pytest.fixture
def published(repository: ModelRepository) -> Manifest:
    return repository.publish("small", write_content)


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
    assert repository.artefact_path(published, "litert") == path
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
def test_bad_names_touch_nothing(place: Place, repository: ModelRepository, name: str) -> None:
    for use in (
        lambda: repository.publish(name, write_content),
        lambda: repository.load_manifest(name, 1),
        lambda: repository.versions(name),
        lambda: repository.remove(name, 1),
        lambda: repository.releases(name),
    ):
        with pytest.raises(InvalidRequestError):
            use()
    assert place.paths() == []


def test_the_generation_changes_with_the_versions(
    repository: ModelRepository, published: Manifest
) -> None:
    first = repository.generation()
    assert first == repository.generation()
    repository.publish("small", write_content)
    second = repository.generation()
    assert first < second
    repository.remove("small", 2)
    assert {each for each in repository.generation() if each[1]} == first


@pytest.mark.parametrize("file", ["model.litert", "golden.npz"])
def test_files_that_are_not_whole_are_refused(
    place: Place, repository: ModelRepository, published: Manifest, file: str
) -> None:
    path = f"small/1/{file}"
    place.alter(path)
    with pytest.raises(ModelRefusedError, match=f"{file} was altered"):
        repository.verify(published)
    place.write(path, place.read(path)[:-1])
    with pytest.raises(ModelRefusedError, match=f"{file} has .* bytes, and its manifest says"):
        repository.verify(published)
    place.delete(path)
    with pytest.raises(ModelRefusedError, match=f"{file} cannot be read"):
        repository.verify(published)


def test_a_bad_artefact_is_not_handed_out(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    place.alter("small/1/model.litert")
    with pytest.raises(ModelRefusedError, match=r"small/1/model\.litert was altered"):
        repository.artefact_path(published, "litert")
    place.write("small/1/model.litert", b"")
    with pytest.raises(ModelRefusedError, match=r"model\.litert has 0 bytes"):
        repository.artefact_path(published, "litert")
    with pytest.raises(ModelRefusedError, match="no keras artefact"):
        repository.artefact_path(published, "keras")


def test_bad_manifests_are_refused(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    path = f"small/1/{MANIFEST_FILE}"
    place.write(path, place.read(path)[:-10])
    with pytest.raises(ModelRefusedError, match=r"manifest\.json is torn"):
        repository.load_manifest("small", 1)


def test_a_repaired_manifest_is_another_generation(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    path, before = f"small/1/{MANIFEST_FILE}", repository.generation()
    whole = place.read(path)
    place.delete(path)
    place.write(path, whole + b"\n")
    assert repository.generation() != before
    assert repository.load_manifest("small", 1) == published


def test_a_copied_manifest_is_not_another_version(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    place.write(f"small/5/{MANIFEST_FILE}", place.read(f"small/1/{MANIFEST_FILE}"))
    with pytest.raises(ModelRefusedError, match="belongs to small:1"):
        repository.load_manifest("small", 5)


def test_a_copied_version_can_be_removed_and_keeps_its_number(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    for file in (*(stored.file for stored in published.files), MANIFEST_FILE):
        place.write(f"other/4/{file}", place.read(f"small/1/{file}"))
    assert repository.versions("other") == (4,)
    repository.remove("other", 4)
    assert repository.versions("other") == ()
    assert repository.publish("other", write_content).version == 5


def test_a_failed_build_leaves_nothing(place: Place, repository: ModelRepository) -> None:
    def build(folder: Path) -> VersionContent:
        write_content(folder)
        raise ModelRefusedError("no good")

    with pytest.raises(ModelRefusedError, match="no good"):
        repository.publish("small", build)
    assert repository.list_models() == ()
    assert [path for path in place.paths() if not path.endswith(".lock")] == []


def test_a_build_that_claims_other_files_is_refused(repository: ModelRepository) -> None:
    def build(folder: Path) -> VersionContent:
        content = write_content(folder)
        (folder / "model.litert").write_bytes(b"other")
        return content

    with pytest.raises(ModelRefusedError, match="altered"):
        repository.publish("small", build)
    assert repository.list_models() == ()


def test_what_is_removed_leaves_no_file(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    repository.remove("small", 1)
    left = {path.rsplit("/", 1)[1] for path in place.paths() if "/releases/" not in path}
    assert left <= {"claim", ".lock", ".removed-1"}


def test_what_is_in_use_is_not_removed(repository: ModelRepository, published: Manifest) -> None:
    repository.publish("small", write_content)
    repository.change_releases("small", lambda releases: releases.promote(1).label("canary", 2))
    for version in (1, 2):
        with pytest.raises(InvalidRequestError) as raised:
            repository.remove("small", version)
        assert raised.value.reason == "IN_USE"
    assert repository.versions("small") == (1, 2)
    repository.change_releases("small", lambda releases: releases.promote(2).unlabel("canary"))
    repository.remove("small", 1)
    assert repository.releases("small").history == ()


def test_changes_of_releases_are_kept_and_seen(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    assert repository.releases("small") == Releases()
    generation = repository.generation()
    repository.change_releases("small", lambda releases: releases.promote(1))
    assert place.open().releases("small").promoted == 1
    assert repository.generation() != generation
    assert repository.list_models() == ("small",)
    assert place.open().generation() == repository.generation()


def test_another_change_meanwhile_is_taken_into_account(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    other = place.open()
    seen: list[Releases] = []

    def change(releases: Releases) -> Releases:
        if not seen:
            other.change_releases("small", lambda releases: releases.label("theirs", 1))
        seen.append(releases)
        return releases.label("ours", 1)

    assert repository.change_releases("small", change).labels == {"theirs": 1, "ours": 1}
    assert [releases.sequence for releases in seen] == [0, 1]


def test_a_torn_record_of_releases_is_refused(
    place: Place, repository: ModelRepository, published: Manifest
) -> None:
    repository.change_releases("small", lambda releases: releases.promote(1))
    place.write("small/releases/1.json", place.read("small/releases/1.json")[:-20])
    with pytest.raises(ModelRefusedError, match=r"1\.json"):
        repository.releases("small")


def test_few_old_records_are_kept(
    place: Place, repository: ModelRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("staging", "objects"):
        monkeypatch.setattr(f"services.common.models.stores.{module}.KEPT_CHANGES", 3)
    for number in range(1, 7):
        repository.change_releases("small", partial(Releases.retire, version=number))
    kept = [path for path in place.paths() if path.endswith(".json")]
    assert kept == [f"small/releases/{number}.json" for number in (4, 5, 6)]
    assert repository.releases("small").retired == frozenset(range(1, 7))
