"""Lines about failures, but few of them: a flood of refusals must not become a flood of writing."""

import time
from collections.abc import Callable
from typing import Any, Final

import structlog

LINES: Final = 10
PERIOD_S: Final = 10.0
"""So many lines of one reason in so long; all others are counted."""


class SparingLog:
    """Writes warnings, limited by reason. Not thread-safe."""

    def __init__(
        self,
        log: Any = None,
        *,
        lines: int = LINES,
        period_s: float = PERIOD_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`log`: a logger of structlog. Reasons are to be few: each is remembered."""
        self._log = log or structlog.get_logger(__name__)
        self._lines = lines
        self._period_s = period_s
        self._clock = clock
        self._periods: dict[str, tuple[float, int]] = {}
        """Reason → when its period began, and how many came since."""

    def warning(self, event: str, reason: str, **fields: Any) -> None:
        """Write a line, or count it: the first one after that says how many were left out.

        What is left out is still there at level debug.
        """
        now = self._clock()
        began, came = self._periods.get(reason, (now, 0))
        left_out = 0
        if now - began >= self._period_s:
            began, came, left_out = now, 0, max(0, came - self._lines)
        self._periods[reason] = (began, came + 1)
        if came >= self._lines:
            self._log.debug(event, reason=reason, **fields)
        elif left_out:
            self._log.warning(event, reason=reason, left_out=left_out, **fields)
        else:
            self._log.warning(event, reason=reason, **fields)
