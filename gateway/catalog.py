"""Which model versions are served, and where. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from facet.inference.v1 import inference_pb2
from facet.type.v1 import model_pb2
from services.common.errors import ModelNotFoundError
from services.common.models.key import ModelKey


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A version and the shards that serve it (none: it was served, and its shards are gone)."""

    descriptor: model_pb2.ModelDescriptor
    shards: tuple[str, ...]


class Catalog:
    """What the shards reported.

    A version stays known when its last shard dies, so that requests wait for a shard to come
    back; it is forgotten when a shard that lives says that it no longer serves it and no other
    does.
    """

    def __init__(self) -> None:
        self.reports: dict[str, inference_pb2.WatchShardResponse] = {}
        self._known: dict[ModelKey, model_pb2.ModelDescriptor] = {}
        self._served: dict[str, set[ModelKey]] = {}
        self._newest: dict[str, model_pb2.ModelDescriptor] = {}
        """What `resolve` found for a name without a version since the models last changed."""

    def report(self, shard: str, report: inference_pb2.WatchShardResponse) -> None:
        """Take in what a shard says of itself; an older report than the last is dropped.

        A report without models stands for the same models as before, and means nothing when
        there were none.
        """
        last = self.reports.get(shard)
        if report.models_included:
            served = {ModelKey.from_message(model.model): model for model in report.models}
            dropped = self._served.get(shard, set()) - served.keys()
            self._served[shard] = set(served)
            self._newest.clear()
            self._known.update(served)
            self._forget(dropped)
            self.reports[shard] = report
        elif last is not None and report.sequence > last.sequence:
            # Often, and labels are many: only what is new is copied.
            last.sequence = report.sequence
            last.load.CopyFrom(report.load)

    def keep_only(self, shards: Iterable[str]) -> None:
        """Drop what was said by shards that are not among these."""
        for shard in self.reports.keys() - set(shards):
            del self.reports[shard]
            self._served.pop(shard, None)
            self._newest.clear()

    def resolve(self, name: str, version: int | None) -> model_pb2.ModelDescriptor:
        """Return the descriptor of a version; without one, of the newest that is served.

        Raises ModelNotFoundError, naming what there is.
        """
        if version is not None:
            found = self._known.get(ModelKey(name, version))
        elif (found := self._newest.get(name)) is None:
            found = self._find_newest(name)
        if found is None:
            wanted = name if version is None else str(ModelKey(name, version))
            there = ", ".join(str(key) for key in sorted(self._known)) or "none"
            raise ModelNotFoundError(f"no shard serves the model {wanted!r}; served: {there}")
        return found

    def describe(self, name: str, version: int | None) -> ServedModel:
        """Like `resolve`, with the shards."""
        descriptor = self.resolve(name, version)
        return ServedModel(descriptor, self._shards(ModelKey.from_message(descriptor.model)))

    def served(self) -> list[ServedModel]:
        """Return every version that a shard serves now, by name, newest first."""
        keys = sorted(self._keys_served(), key=lambda key: (key.name, -key.version))
        return [ServedModel(self._known[key], self._shards(key)) for key in keys]

    def _find_newest(self, name: str) -> model_pb2.ModelDescriptor | None:
        served = [key for key in self._keys_served() if key.name == name]
        known = served or [key for key in self._known if key.name == name]
        if not known:
            return None
        found = self._newest[name] = self._known[max(known)]
        return found

    def _keys_served(self) -> set[ModelKey]:
        return set().union(*self._served.values()) if self._served else set()

    def _shards(self, key: ModelKey) -> tuple[str, ...]:
        return tuple(sorted(shard for shard, keys in self._served.items() if key in keys))

    def _forget(self, keys: set[ModelKey]) -> None:
        for key in keys - self._keys_served():
            self._known.pop(key, None)
