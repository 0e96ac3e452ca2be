"""Any order of changes, against a model of what a repository is."""

import shutil
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from services.common.errors import InvalidRequestError, ModelNotFoundError
from services.common.models.cache import FileCache
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository
from tests.models.contents import write_content

VERSIONS = st.integers(1, 5)
LABELS = st.sampled_from(["canary", "stable"])


class Repository(RuleBasedStateMachine):
    """One model; two processes use the repository in turns."""

    @initialize()
    def begin(self) -> None:
        """Begin with nothing."""
        self.folder = Path(tempfile.mkdtemp())
        url = f"memory://{uuid.uuid4().hex}"
        cache = FileCache(self.folder, 2**30)
        self.cache = cache
        self.processes = [ModelRepository.open(url, cache) for _ in range(2)]
        self.contents: dict[int, bytes] = {}
        self.given = 0
        self.promoted: int | None = None
        self.history: list[int] = []
        self.labels: dict[str, int] = {}
        self.retired: set[int] = set()
        self.generations: dict[object, object] = {}

    def teardown(self) -> None:
        """Leave nothing."""
        self.cache.close()
        shutil.rmtree(self.folder)

    @property
    def repository(self) -> ModelRepository:
        """That of the process whose turn it is."""
        self.processes.reverse()
        return self.processes[0]

    @rule(content=st.binary(min_size=1, max_size=8))
    def publish(self, content: bytes) -> None:
        """A number is given once, and in order."""
        manifest = self.repository.publish("small", partial(write_content, model=content))
        self.given += 1
        assert manifest.version == self.given
        self.contents[self.given] = content

    @rule(version=VERSIONS)
    def remove(self, version: int) -> None:
        """What is there and not in use goes."""
        if version not in self.contents:
            with pytest.raises(ModelNotFoundError):
                self.repository.remove("small", version)
        elif version == self.promoted or version in self.labels.values():
            with pytest.raises(InvalidRequestError):
                self.repository.remove("small", version)
        else:
            self.repository.remove("small", version)
            del self.contents[version]
            self.history = [each for each in self.history if each != version]
            self.retired.discard(version)

    @rule(version=VERSIONS)
    def promote(self, version: int) -> None:
        """What is not retired answers to the bare name."""
        if self._refused(partial(Releases.promote, version=version), version in self.retired):
            return
        if version != self.promoted:
            self.history += [] if self.promoted is None else [self.promoted]
            self.promoted = version

    @rule(version=VERSIONS, label=LABELS)
    def label(self, version: int, label: str) -> None:
        """A label is one version's."""
        change = partial(Releases.label, label=label, version=version)
        if not self._refused(change, version in self.retired):
            self.labels[label] = version

    @rule(label=LABELS)
    def unlabel(self, label: str) -> None:
        """A label is taken away."""
        if not self._refused(partial(Releases.unlabel, label=label), label not in self.labels):
            del self.labels[label]

    @rule(version=VERSIONS)
    def retire(self, version: int) -> None:
        """What is in use is not retired."""
        in_use = version == self.promoted or version in self.labels.values()
        if not self._refused(partial(Releases.retire, version=version), in_use):
            self.retired.add(version)

    @rule(version=VERSIONS)
    def unretire(self, version: int) -> None:
        """What was retired is served again."""
        self._refused(partial(Releases.unretire, version=version), False)
        self.retired.discard(version)

    @rule()
    def roll_back(self) -> None:
        """The last promoted version that is not retired comes back."""
        left = [version for version in self.history if version not in self.retired]
        if not self._refused(Releases.rollback, not left):
            self.promoted, self.history = left[-1], left[:-1]

    @precondition(lambda self: self.contents)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """A version is what was published."""
        version = data.draw(st.sampled_from(sorted(self.contents)))
        repository = self.repository
        manifest = repository.load_manifest("small", version)
        repository.verify(manifest)
        assert repository.artefact_path(manifest, "litert").read_bytes() == self.contents[version]

    @invariant()
    def all_see_the_same(self) -> None:
        """Every process sees what is there."""
        for repository in getattr(self, "processes", []):
            assert repository.versions("small") == tuple(sorted(self.contents))
            releases = repository.releases("small")
            assert releases.promoted == self.promoted
            assert list(releases.history) == self.history[-20:]
            assert releases.labels == self.labels
            assert releases.retired == self.retired

    @invariant()
    def another_state_is_another_generation(self) -> None:
        """Whoever polls sees every change, and no change where there is none."""
        if not hasattr(self, "processes"):
            return
        state = (frozenset(self.contents), self.repository.releases("small").sequence)
        generation = self.repository.generation()
        assert self.generations.setdefault(state, generation) == generation
        assert len(set(self.generations.values())) == len(self.generations)

    def _refused(self, change: Callable[[Releases], Releases], expected: bool) -> bool:
        if not expected:
            self.repository.change_releases("small", change)
            return False
        with pytest.raises(InvalidRequestError):
            self.repository.change_releases("small", change)
        return True


def test_any_order_of_changes() -> None:
    run_state_machine_as_test(
        Repository, settings=settings(max_examples=50, stateful_step_count=25, deadline=None)
    )
