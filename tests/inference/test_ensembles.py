"""A shard tells of ensembles, loads what they need, and runs none."""

from functools import partial
from pathlib import Path

import pytest

from services.common.errors import ModelRefusedError
from services.common.models.assembly import publish_ensemble
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import load_version
from tests.inference.models import host_of, load, repository_in
from tests.models.contents import write_content

CATS, DOGS, PETS = ModelKey("cats", 1), ModelKey("dogs", 1), ModelKey("pets", 1)


class Told:
    """A host on a repository with an ensemble, and how often it told of a change."""

    def __init__(self, repository: ModelRepository) -> None:
        self.changes = 0
        self.repository = repository
        self.host = host_of(repository, partial(load, repository), self._changed)
        publish_ensemble(repository, PETS.name, {CATS: 1, DOGS: 2}, "weighted")

    @property
    def ensembles(self) -> list[ModelKey]:
        """The ensembles that it tells of."""
        return [ModelKey.from_message(each.model) for each in self.host.ensembles]

    @property
    def loaded(self) -> list[str]:
        """What is loaded."""
        return [str(ModelKey.from_message(each.model)) for each in self.host.descriptors]

    def _changed(self) -> None:
        self.changes += 1


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """A host that has not looked at its repository yet."""
    return Told(repository_in(tmp_path, "cats", "dogs"))


async def test_an_ensemble_is_told_of_and_not_loaded(told: Told) -> None:
    await told.host.refresh()
    assert told.loaded == ["cats:1", "dogs:1"]
    assert told.ensembles == [PETS]
    assert not told.host.refused
    members = told.host.describe(PETS).ensemble.members
    assert [ModelKey.from_message(member.model) for member in members] == [CATS, DOGS]
    told.host.close()


async def test_members_stay_loaded_however_old(told: Told) -> None:
    for _ in range(3):
        told.repository.publish("cats", write_content)
    await told.host.refresh()
    assert told.loaded == ["cats:1", "cats:3", "cats:4", "dogs:1"]
    told.repository.remove(*PETS)
    await told.host.refresh()
    assert told.loaded == ["cats:3", "cats:4", "dogs:1"]
    assert not told.host.ensembles
    told.host.close()


async def test_an_ensemble_without_a_member_is_refused(told: Told) -> None:
    await told.host.refresh()
    changes = told.changes
    told.repository.remove(*DOGS)
    await told.host.refresh()
    assert not told.host.ensembles
    assert dict(told.host.refused) == {PETS: "no version to be served: dogs:1"}
    assert told.loaded == ["cats:1"]
    assert told.changes > changes
    told.host.close()


def test_no_engine_runs_an_ensemble(told: Told) -> None:
    with pytest.raises(ModelRefusedError, match="its members are run, not itself"):
        load_version(told.repository, *PETS, batch_sizes=[1])
