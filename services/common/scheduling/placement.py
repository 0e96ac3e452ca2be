"""Where a piece goes when no scheduler can be reached: to the shard that will finish it first.

Each dispatcher decides alone, from the shards' last reports and from what it sent since. It
errs where several dispatchers see the same idle shard; so it is the fallback, not the policy.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from services.common.models.key import ModelKey
from services.common.scheduling.costs import GUESS, Cost


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a shard says of itself, on each response and on its stream."""

    sequence: int
    """Counts up with every report of one process; an older one that comes later is dropped."""
    remaining_s: float
    """Predicted seconds until everything that has arrived is done."""
    costs: Mapping[ModelKey, Cost]
    """Of the versions that it can run now, as they are now (slowness included)."""


@dataclass(slots=True)
class _View:
    report: LoadReport
    free_at: float
    sent: dict[int, float] = field(default_factory=dict)
    """Predicted seconds of each own send that no report covers yet."""


class Placement:
    """One dispatcher's view of the shards. Not thread-safe."""

    def __init__(self) -> None:
        self._views: dict[str, _View] = {}
        self._next_send = 0

    def shards_are(self, shards: Collection[str]) -> None:
        """Forget shards that are no longer members."""
        for shard in self._views.keys() - set(shards):
            del self._views[shard]

    def reported(self, shard: str, report: LoadReport, now: float) -> None:
        """Take in a report, unless a newer one of the shard is known.

        A restarted shard counts anew: call `left` before its first report.
        """
        view = self._views.get(shard)
        if view is None:
            self._views[shard] = _View(report, now + report.remaining_s)
        elif report.sequence > view.report.sequence:
            view.report, view.free_at = report, now + report.remaining_s

    def left(self, shard: str) -> None:
        """The shard went away, or could not be reached."""
        self._views.pop(shard, None)

    def place(
        self, model: ModelKey, images: int, now: float, avoid: Collection[str] = ()
    ) -> tuple[str, int] | None:
        """Choose a shard and count the piece as sent there; None when no shard serves the model.

        Returns the shard and a number for `answered`. Shards in `avoid` are taken only when
        there is no other.
        """
        best: tuple[bool, float, str] | None = None
        for shard, view in self._views.items():
            cost = view.report.costs.get(model)
            if cost is not None:
                begin = max(view.free_at, now) + sum(view.sent.values())
                candidate = (shard in avoid, begin + cost.seconds(images), shard)
                best = candidate if best is None else min(best, candidate)
        if best is None:
            return None
        view = self._views[best[2]]
        self._next_send += 1
        # Behind other work a piece shares a batch: its fixed cost is paid already.
        cost = view.report.costs.get(model, GUESS)
        shares = bool(view.sent) or view.free_at > now
        view.sent[self._next_send] = cost.c * images if shares else cost.seconds(images)
        return best[2], self._next_send

    def answered(self, shard: str, send: int) -> None:
        """The shard answered or lost that send; harmless when it left meanwhile."""
        if shard in self._views:
            self._views[shard].sent.pop(send, None)
