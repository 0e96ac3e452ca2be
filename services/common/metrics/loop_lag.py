"""How late the event loop is: what a request waits because something else does not let go."""

import asyncio
import time
from typing import Final

from services.common.metrics.counts import Histogram

PERIOD_S: Final = 0.5
BOUNDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds. Timers of the event loop are a millisecond late by themselves."""


class LoopLag:
    """Sets a timer again and again, and measures by how much each is late."""

    def __init__(self) -> None:
        self.seconds = Histogram(BOUNDS)
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._due = time.monotonic() + PERIOD_S
        self._timer = asyncio.get_running_loop().call_later(PERIOD_S, self._fired)

    def stop(self) -> None:
        """End. Harmless when it has not begun."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fired(self) -> None:
        self.seconds.observe(max(0.0, time.monotonic() - self._due))
        self.start()
