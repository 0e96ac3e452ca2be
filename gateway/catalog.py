"""Which model versions there are, and where. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from facet.inference.v1 import inference_pb2
from facet.type.v1 import model_pb2
from gateway.traffic import Name, Traffic, merged
from services.common.errors import FacetError, ModelNotFoundError, ModelRefusedError
from services.common.models.key import ModelKey


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version and the shards that have loaded it."""

    descriptor: model_pb2.ModelDescriptor
    shards: tuple[str, ...]


class Wanted(NamedTuple):
    """What a caller asks for: a name, and a version or a label at most."""

    name: str
    version: int | None = None
    label: str = ""

    def __str__(self) -> str:
        """NAME, NAME:VERSION or NAME@LABEL"""
        if self.version is not None:
            return str(ModelKey(self.name, self.version))
        return f"{self.name}@{self.label}" if self.label else self.name


class Catalog:
    """What the shards reported.

    A version stays known when its last shard dies, so that requests wait for a shard to come
    back; it is forgotten when the repository, as living shards see it, has it no more.
    """

    def __init__(self) -> None:
        self.reports: dict[str, inference_pb2.WatchShardResponse] = {}
        self._known: dict[ModelKey, model_pb2.ModelDescriptor] = {}
        self._served: dict[str, set[ModelKey]] = {}
        self._proven: set[ModelKey] = set()
        """Versions that a shard had loaded: one that refuses them does not speak for all."""
        self._releases: dict[str, inference_pb2.ModelReleases] = {}
        self._traffic = Traffic()
        self._resolved: dict[Wanted, ModelKey] = {}
        """What `resolve` found since the models last changed."""

    def report(self, shard: str, report: inference_pb2.WatchShardResponse) -> None:
        """Take in what a shard says of itself; an older report than the last is dropped.

        A report without models stands for the same models as before, and means nothing when
        there were none.
        """
        last = self.reports.get(shard)
        if report.models_included:
            served = {ModelKey.from_message(model.model): model for model in report.models}
            self.reports[shard] = report
            self._served[shard] = set(served)
            self._known.update(served)
            self._proven |= served.keys()
            self._changed()
        elif last is not None and report.sequence > last.sequence:
            # Often, and labels are many: only what is new is copied.
            last.sequence = report.sequence
            last.load.CopyFrom(report.load)

    def keep_only(self, shards: Iterable[str]) -> None:
        """Drop what was said by shards that are not among these."""
        gone = self.reports.keys() - set(shards)
        for shard in gone:
            del self.reports[shard]
            self._served.pop(shard, None)
        if gone:
            self._changed()

    def described(self, descriptor: model_pb2.ModelDescriptor) -> None:
        """Take in the description of a version that no shard has loaded."""
        self._known.setdefault(ModelKey.from_message(descriptor.model), descriptor)

    def resolve(self, wanted: Wanted) -> ModelKey:
        """Return the version that answers; it need not be loaded.

        Raises ModelNotFoundError, naming what there is, and ModelRefusedError with the reason.
        """
        if (key := self._resolved.get(wanted)) is None:
            key = self._resolved[wanted] = self._resolve(wanted)
        return key

    def descriptor(self, key: ModelKey) -> model_pb2.ModelDescriptor | None:
        """Return the description of a version, where it is known already."""
        return self._known.get(key)

    def shards(self, key: ModelKey) -> tuple[str, ...]:
        """Return the shards that have loaded a version, sorted."""
        return tuple(sorted(shard for shard, keys in self._served.items() if key in keys))

    def offering(self, key: ModelKey) -> list[str]:
        """Return the shards that know of a version."""
        return [
            shard
            for shard, report in self.reports.items()
            if key in self._served[shard]
            or any(r.name == key.name and key.version in r.versions for r in report.releases)
        ]

    def served(self) -> list[ServedModel]:
        """Return every version that a shard has loaded, by name, newest first."""
        keys = sorted(self._keys_served(), key=lambda key: (key.name, -key.version))
        return [ServedModel(self._known[key], self.shards(key)) for key in keys]

    def why_not(self, key: ModelKey) -> FacetError | None:
        """Say why a version will not be served, however long one waits; None: it may be."""
        if key in self._keys_served() or not self.reports:
            return None
        refusals = [self._refusal(report, key) for report in self.reports.values()]
        if all(refusals) and key not in self._proven:
            return ModelRefusedError(f"every shard refuses {key}: {refusals[0]}")
        if self._is_retired(key):
            return ModelNotFoundError(f"{key} is retired")
        releases = self._releases.get(key.name)
        if any(refusals) or (releases is not None and key.version in releases.versions):
            return None
        there = ", ".join(str(each) for each in sorted(self._keys_served())) or "none"
        return ModelNotFoundError(f"there is no model {str(key)!r}; served: {there}")

    def _resolve(self, wanted: Wanted) -> ModelKey:
        version = wanted.version
        if version is None:
            releases = self._releases.get(wanted.name)
            if releases is not None:
                name = Name(wanted.name, wanted.label)
                version = self._traffic.version(name, releases, self._counts(wanted.name))
            if version is None:
                raise self._not_found(wanted)
        key = ModelKey(wanted.name, version)
        if self._is_retired(key):  # though shards may still have it, for those who wait already
            raise ModelNotFoundError(f"{key} is retired")
        if key not in self._known and not self.offering(key):
            raise self.why_not(key) or self._not_found(wanted)
        if (error := self.why_not(key)) is not None:
            raise error
        return key

    def _is_retired(self, key: ModelKey) -> bool:
        releases = self._releases.get(key.name)
        return releases is not None and key.version in releases.retired

    def _not_found(self, wanted: Wanted) -> ModelNotFoundError:
        if wanted.label and (releases := self._releases.get(wanted.name)) is not None:
            labels = ", ".join(sorted(releases.labels)) or "none"
            return ModelNotFoundError(
                f"no version of {wanted.name!r} is labelled {wanted.label!r}; labels: {labels}"
            )
        there = ", ".join(str(key) for key in sorted(self._keys_served())) or "none"
        return ModelNotFoundError(f"there is no model {str(wanted)!r}; served: {there}")

    def _changed(self) -> None:
        self._resolved.clear()
        if not self.reports:
            return  # all shards are gone, and come back with what they had
        records: dict[str, list[inference_pb2.ModelReleases]] = {}
        for report in self.reports.values():
            for record in report.releases:
                records.setdefault(record.name, []).append(record)
        self._releases = {name: merged(each) for name, each in records.items()}
        for key in self._known.keys() - self._keys_served():
            releases = self._releases.get(key.name)
            if releases is None or key.version not in releases.versions:
                del self._known[key]
                self._proven.discard(key)

    def _counts(self, name: str) -> Counter[int]:
        """Version → shards that have it."""
        return Counter(
            key.version for keys in self._served.values() for key in keys if key.name == name
        )

    def _keys_served(self) -> set[ModelKey]:
        return set().union(*self._served.values()) if self._served else set()

    @staticmethod
    def _refusal(report: inference_pb2.WatchShardResponse, key: ModelKey) -> str | None:
        refused = (each for each in report.refused if ModelKey.from_message(each.model) == key)
        return next((each.reason for each in refused), None)
