"""A flood of failures writes a few lines."""

import structlog
from structlog.testing import LogCapture

from services.common.tracing.sparing import SparingLog


class Clock:
    """Time as the test wants it."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now


def test_lines_are_limited_by_reason_and_the_rest_is_counted() -> None:
    written, clock = LogCapture(), Clock()
    log = structlog.wrap_logger(None, processors=[written])
    sparing = SparingLog(log, lines=2, period_s=10.0, clock=clock)
    for number in range(5):
        sparing.warning("failed", "BUSY", number=number)
    sparing.warning("failed", "LATE", number=5)
    clock.now += 10.0
    for number in range(6, 8):
        sparing.warning("failed", "BUSY", number=number)
    clock.now += 10.0
    sparing.warning("failed", "BUSY", number=8)
    warnings = [each for each in written.entries if each["log_level"] == "warning"]
    assert [each["number"] for each in warnings] == [0, 1, 5, 6, 7, 8]
    assert [each.get("left_out", 0) for each in warnings] == [0, 0, 0, 3, 0, 0]
    debug = [each["number"] for each in written.entries if each["log_level"] == "debug"]
    assert debug == [2, 3, 4]
