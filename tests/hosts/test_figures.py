"""What is told of a fault, from records that are known."""

import pytest

from benchmarks.hosts.figures import tell
from benchmarks.recorded_load import OK, Record


def answers(begin: float, end: float, per_s: float) -> list[Record]:
    """Answers at a steady rate, each of which took a tenth of a second."""
    count = round((end - begin) * per_s)
    moments = [begin + number / per_s for number in range(count)]
    return [Record(moment - 0.1, moment, OK) for moment in moments]


def test_the_three_phases_of_a_fault() -> None:
    records = [
        *answers(0, 12, per_s=10),
        *answers(15, 21, per_s=2),
        *answers(21, 30, per_s=10),
        Record(11, 16, "UNAVAILABLE"),
    ]
    told = tell(records, began=0, struck=10, mended=20)
    assert told.before.per_s == pytest.approx(10)
    assert told.ratio == pytest.approx(0.3)  # 20 before the standstill, 10 after it
    assert told.before.p50_ms == pytest.approx(100)
    assert told.lost == {"UNAVAILABLE": 1}
    assert told.standstill_s == pytest.approx(3.1)
    assert told.recovery_s == pytest.approx(1)


def test_what_stands_still_until_the_end_has_not_recovered() -> None:
    records = [*answers(0, 10, per_s=10), Record(9, 30, "DEADLINE_EXCEEDED")]
    told = tell(records, began=0, struck=10, mended=20)
    assert told.ratio == 0
    assert told.during.p50_ms is None
    assert told.standstill_s == pytest.approx(20)
    assert told.recovery_s is None
