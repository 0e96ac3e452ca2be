"""What the model repository has to offer to a shard: every version, and how much it is needed."""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2
from services.common.errors import FacetError, ModelRefusedError, UnavailableError
from services.common.models.key import ModelKey
from services.common.models.manifest import Manifest
from services.common.models.releases import Releases
from services.common.models.repository import ModelRepository

WEIGHTS_FACTOR: Final = 3
"""Memory of a loaded model until it was measured: so many times its largest artefact, for the
weights are there once more as the kernels want them,"""
LAYERS_FACTOR: Final = 40
"""and so many bytes for each value of its largest batch, for what lies between the layers (a
MobileNetV2 was seen to take 35)."""


class Standing(IntEnum):
    """How much a version is needed where nobody asks for it; the lower the more."""

    CURRENT = scheduler_pb2.STANDING_CURRENT
    """It answers to the bare name."""
    NAMED = scheduler_pb2.STANDING_NAMED
    """It has a label, was promoted before (until traffic has moved), or is one of the newest."""
    ON_DEMAND = scheduler_pb2.STANDING_ON_DEMAND
    """It is loaded when somebody asks for it."""


@dataclass(frozen=True, slots=True)
class Shelved:
    """One version that may be loaded."""

    manifest: Manifest
    standing: Standing

    @property
    def key(self) -> ModelKey:
        """NAME:VERSION"""
        return ModelKey(self.manifest.name, self.manifest.version)

    def estimated_bytes(self, max_batch: int) -> int:
        """Return the memory that it is taken to need until it was loaded once."""
        weights = max(artefact.bytes for artefact in self.manifest.artefacts)
        return WEIGHTS_FACTOR * weights + LAYERS_FACTOR * max_batch * self.manifest.input.nbytes


@dataclass(frozen=True, slots=True)
class Shelf:
    """The repository at one moment."""

    models: Mapping[ModelKey, Shelved] = field(default_factory=dict)
    """All versions that can be loaded: those that are retired or refused are not among them."""
    ensembles: Mapping[ModelKey, model_pb2.ModelDescriptor] = field(default_factory=dict)
    """Versions that are made of others, all of which are there. No shard loads one."""
    releases: tuple[inference_pb2.ModelReleases, ...] = ()
    """Sorted by name."""
    refused: Mapping[ModelKey, str] = field(default_factory=dict)
    """Versions whose manifest must not be trusted, and why."""

    def by_need(self, shard: str, told: Collection[ModelKey] = ()) -> list[ModelKey]:
        """Return the versions to hold where nobody says which, the most needed first.

        `told` are those that it was told to hold when somebody last said so. Among equals they
        come first, and then each shard has an order of its own (rendezvous hashing: Thaler and
        Ravishankar, 1998), so that shards which cannot hold all hold different ones.
        """
        wanted = [
            each
            for key, each in self.models.items()
            if each.standing < Standing.ON_DEMAND or key in told
        ]
        wanted.sort(
            key=lambda each: (each.standing, each.key not in told, _weight(shard, each.key))
        )
        return [each.key for each in wanted]


class ShelfReader:
    """Reads the shelf; a manifest, which never changes, is read once."""

    def __init__(self, repository: ModelRepository, keep_versions: int) -> None:
        """`keep_versions`: how many of a model's newest versions are NAMED."""
        self._repository = repository
        self._keep_versions = keep_versions
        self._manifests: dict[ModelKey, Manifest] = {}

    def read(self) -> Shelf:
        """Return what the repository has now.

        Raises UnavailableError or OSError when it cannot be read; a single model that is not whole
        is left out.
        """
        models: dict[ModelKey, Shelved] = {}
        refused: dict[ModelKey, str] = {}
        releases = []
        for name in self._repository.list_models():
            versions = self._repository.versions(name)
            try:
                decided = self._repository.releases(name)
            except ModelRefusedError as error:
                refused.update((ModelKey(name, version), error.message) for version in versions)
                continue
            releases.append(_message(name, decided, versions))
            named = self._named(decided, versions)
            for version in versions:
                key = ModelKey(name, version)
                if version in decided.retired:
                    continue
                try:
                    manifest = self._manifest(key)
                except UnavailableError:
                    raise
                except FacetError as error:
                    refused[key] = error.message
                    continue
                models[key] = Shelved(manifest, named.get(version, Standing.ON_DEMAND))
        self._manifests = {key: self._manifests[key] for key in models}
        ensembles = _take_out_ensembles(models, refused)
        return Shelf(models, ensembles, tuple(releases), refused)

    def _manifest(self, key: ModelKey) -> Manifest:
        if key not in self._manifests:
            self._manifests[key] = self._repository.load_manifest(key.name, key.version)
        return self._manifests[key]

    def _named(self, releases: Releases, versions: Iterable[int]) -> dict[int, Standing]:
        there = [version for version in versions if version not in releases.retired]
        named = set(there[-self._keep_versions :]) | set(releases.labels.values())
        named.update(releases.history[-1:])
        standings = dict.fromkeys(named & set(there), Standing.NAMED)
        if (current := releases.current(there)) is not None:
            standings[current] = Standing.CURRENT
        return standings


def _take_out_ensembles(
    models: dict[ModelKey, Shelved], refused: dict[ModelKey, str]
) -> dict[ModelKey, model_pb2.ModelDescriptor]:
    """Move ensembles out of `models`, or to `refused`; their members are needed as they are."""
    found = {}
    ensembles = [each for each in models.values() if each.manifest.ensemble is not None]
    for each in ensembles:
        del models[each.key]
    for each in ensembles:
        members = each.manifest.ensemble.keys if each.manifest.ensemble is not None else ()
        known = models.keys() | refused.keys()  # another shard may be able to load what is refused
        if missing := [str(member) for member in members if member not in known]:
            refused[each.key] = f"no version to be served: {', '.join(missing)}"
            continue
        found[each.key] = each.manifest.to_descriptor(max_batch=0, engine="")
        for member in models.keys() & set(members):
            needed = min(models[member].standing, max(each.standing, Standing.NAMED))
            models[member] = replace(models[member], standing=needed)
    return found


def _message(name: str, releases: Releases, versions: Iterable[int]) -> inference_pb2.ModelReleases:
    there = [version for version in versions if version not in releases.retired]
    return inference_pb2.ModelReleases(
        name=name,
        sequence=releases.sequence,
        current=releases.current(there) or 0,
        previous=reversed(releases.history),
        labels=releases.labels,
        versions=there,
        retired=sorted(releases.retired),
    )


def _weight(shard: str, key: ModelKey) -> bytes:
    return hashlib.blake2b(f"{shard} {key}".encode(), digest_size=8).digest()
