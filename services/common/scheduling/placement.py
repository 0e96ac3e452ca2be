"""Where a piece goes when no scheduler can be reached: to the shard that will finish it first.

Each dispatcher decides alone, from the shards' last reports and from what it sent since. It
errs where several dispatchers see the same idle shard; so it is the fallback, not the policy.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost


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
    sent: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Own sends that no report covers yet: when, and the predicted seconds of each."""
    sent_s: float = 0.0

    def forget_send(self, send: int) -> None:
        if (entry := self.sent.pop(send, None)) is not None:
            self.sent_s = self.sent_s - entry[1] if self.sent else 0.0


class Placement:
    """One dispatcher's view of the shards. Not thread-safe."""

    def __init__(self, flight_s: float) -> None:
        """`flight_s`: how long a piece takes to reach a shard and a report to come back."""
        self._flight_s = flight_s
        self._views: dict[str, _View] = {}
        self._next_send = 0

    def shards_are(self, shards: Collection[str]) -> None:
        """Forget shards that are no longer members."""
        for shard in self._views.keys() - set(shards):
            del self._views[shard]

    def reported(self, shard: str, report: LoadReport, now: float) -> None:
        """Take in a report, unless a newer one of the shard is known.

        It covers all own sends that were on their way for longer than the flight. A restarted
        shard counts anew: call `left` before its first report.
        """
        view = self._views.get(shard)
        if view is None:
            self._views[shard] = _View(report, now + report.remaining_s)
        elif report.sequence > view.report.sequence:
            view.report, view.free_at = report, now + report.remaining_s
            for send, (at, _) in list(view.sent.items()):
                if at <= now - self._flight_s:
                    view.forget_send(send)

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
            if (cost := view.report.costs.get(model)) is not None:
                finish = max(view.free_at, now) + view.sent_s + cost.seconds(images)
                candidate = (shard in avoid, finish, shard)
                best = candidate if best is None else min(best, candidate)
        if best is None:
            return None
        shard = best[2]
        view = self._views[shard]
        cost = view.report.costs[model]
        # Behind other work a piece is likely to share a batch: its fixed cost is paid already.
        shares = bool(view.sent) or view.free_at > now
        seconds = cost.c * images if shares else cost.seconds(images)
        self._next_send += 1
        view.sent[self._next_send] = (now, seconds)
        view.sent_s += seconds
        return shard, self._next_send

    def answered(self, shard: str, send: int) -> None:
        """The shard answered or lost that send; harmless when it left meanwhile."""
        if (view := self._views.get(shard)) is not None:
            view.forget_send(send)
