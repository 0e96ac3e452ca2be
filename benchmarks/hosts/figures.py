"""What a load says of a fault: before it, while it lasts, and after it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.recorded_load import OK, Record

BIN_S: Final = 0.5
RECOVERED: Final = 0.8
"""Of the rate before the fault: a cluster that answers so many again has recovered."""


@dataclass(frozen=True, slots=True)
class Phase:
    """The requests that ended in one stretch of time."""

    per_s: float
    """Answers."""
    p50_ms: float | None
    p99_ms: float | None
    """None: nothing was answered."""

    @classmethod
    def of(cls, records: Sequence[Record], begin: float, end: float) -> "Phase":
        """Return what ended between two moments."""
        waits = [1e3 * r.latency_s for r in records if r.outcome == OK and begin <= r.ended < end]
        percentiles = np.percentile(waits, [50, 99]).tolist() if waits else [None, None]
        return cls(len(waits) / max(1e-9, end - begin), *percentiles)


@dataclass(frozen=True, slots=True)
class Told:
    """One fault, from its load's records."""

    before: Phase
    during: Phase
    after: Phase
    lost: Counter[str]
    """How requests failed in all of the time, and how many did."""
    standstill_s: float
    """The longest time without any answer from the fault on."""
    recovery_s: float | None
    """From the end of the fault until the rate is again what it was; None: it never was."""

    @property
    def ratio(self) -> float:
        """Answers a second during the fault, as a share of those before it."""
        return self.during.per_s / max(1e-9, self.before.per_s)


def tell(records: Sequence[Record], began: float, struck: float, mended: float) -> Told:
    """Return what the records say of a fault between two moments, counted from `began` on."""
    over = max(record.ended for record in records)
    before = Phase.of(records, began, struck)
    return Told(
        before=before,
        during=Phase.of(records, struck, mended),
        after=Phase.of(records, mended, over),
        lost=Counter(record.outcome for record in records if record.outcome != OK),
        standstill_s=_standstill(records, struck, over),
        recovery_s=_recovery(records, mended, over, RECOVERED * before.per_s),
    )


def _answers(records: Sequence[Record]) -> list[float]:
    return sorted(record.ended for record in records if record.outcome == OK)


def _standstill(records: Sequence[Record], begin: float, end: float) -> float:
    moments = [begin, *(each for each in _answers(records) if each > begin), end]
    return float(np.diff(moments).max())


def _recovery(records: Sequence[Record], begin: float, end: float, per_s: float) -> float | None:
    """Seconds until the first two bins with so many answers a second, one after the other."""
    bins = int((end - begin) / BIN_S)
    if bins < 2:
        return None
    edges = begin + BIN_S * np.arange(bins + 1)
    enough = np.histogram(_answers(records), edges)[0] >= per_s * BIN_S
    both = np.flatnonzero(enough[:-1] & enough[1:])
    return float(both[0] * BIN_S) if both.size else None
