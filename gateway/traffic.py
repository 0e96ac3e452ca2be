"""Which version answers to a name, while new versions come and old ones go. Pure.

A name leads to the version that was promoted (or is newest, where none ever was), a label to the
version that has it. When that changes, traffic moves once enough shards have loaded the new
version, and until then the old one goes on: a version that is slow to load, or that shards
refuse, costs nobody an answer.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from facet.inference.v1 import inference_pb2

ENOUGH: Final = 0.75
"""Traffic moves to a version that so large a share of the shards has, of those that have the one
that answers now: the others load it at that moment."""


class Name(NamedTuple):
    """What a caller may call a model by."""

    name: str
    label: str = ""
    """Empty: the bare name."""


class Traffic:
    """Remembers which version answers to each name. Not thread-safe."""

    def __init__(self) -> None:
        self._answers: dict[Name, int] = {}

    def version(
        self,
        name: Name,
        releases: inference_pb2.ModelReleases,
        shards: Mapping[int, int],
    ) -> int | None:
        """Return the version that answers to a name now; None when nothing does.

        `shards`: version → how many shards have it; those that have none may be missing.
        """
        goal = releases.labels.get(name.label, 0) if name.label else releases.current
        if not goal:
            self._answers.pop(name, None)
            return None
        now = self._answers.get(name)
        if now is None or not shards.get(now) or now in releases.retired:
            self._answers[name] = _start(name, goal, now, releases, shards)
        elif goal != now and shards.get(goal, 0) >= math.ceil(ENOUGH * shards[now]):
            self._answers[name] = goal
        return self._answers[name]


def merged(records: Iterable[inference_pb2.ModelReleases]) -> inference_pb2.ModelReleases:
    """Return what several shards say of one model: they read the repository at different times.

    The newest decision counts. A version exists as long as one of them knows it.
    """
    records = sorted(records, key=lambda record: (record.sequence, record.current))
    result = inference_pb2.ModelReleases()
    result.CopyFrom(records[-1])
    versions = {version for record in records for version in record.versions}
    result.versions[:] = sorted(versions.difference(result.retired))
    return result


def _start(
    name: Name,
    goal: int,
    before: int | None,
    releases: inference_pb2.ModelReleases,
    shards: Mapping[int, int],
) -> int:
    """Return what answers where nothing that shards have does yet."""
    if shards.get(goal):
        return goal
    if not name.label:
        has = [version for version, count in shards.items() if count]
        served = [version for version in has if version not in releases.retired]
        former = [version for version in releases.previous if version in served]
        if former:
            return former[0]
        if served:
            return max(served)
    # Nothing is there: what answered last comes back with its shards, the goal has to be loaded.
    return before if before in releases.versions and before is not None else goal
