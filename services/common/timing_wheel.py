"""Deadlines, nearly all of which are taken back before they come: one timer for all of them.

A request waits for five things, and a timer of the event loop for each takes three times as long
to set and to cancel as a place in a set: a hashed timing wheel (Varghese and Lauck, 1987).
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

import structlog

from services.common.deadline import Deadline
from services.common.errors import DeadlineExceededError

log = structlog.get_logger(__name__)

T = TypeVar("T")
Expire: TypeAlias = Callable[[], None]

TICKS_PER_S: Final = 200
"""Whatever falls into the same tick happens at its end: up to 5 ms late, and never early."""


class TimingWheel:
    """Calls back when a time has come, unless that is taken back. For one event loop."""

    def __init__(self) -> None:
        self._slots: dict[int, set[Expire]] = {}
        """Tick → what is to be called at its end. Those that are empty go when the timer fires."""
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for = 0
        """The tick at whose end the timer fires."""

    def add(self, at: float, expire: Expire) -> set[Expire]:
        """Call `expire` once `at` (time.monotonic) has passed.

        Returns the slot that it is in: to `discard` it there takes it back.
        """
        tick = int(at * TICKS_PER_S)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = set()
            if self._timer is None or tick < self._armed_for:
                self._arm(tick)
        slot.add(expire)
        return slot

    async def within(self, deadline: Deadline, future: "asyncio.Future[T]", late: str) -> T:
        """Return the future's result; it fails with DeadlineExceededError at the deadline.

        `late` is the text of that. The future is the caller's own: nobody else's wait is cut off.
        """
        expire = partial(_fail, future, late)
        slot = self.add(deadline.at, expire)
        try:
            return await future
        finally:
            slot.discard(expire)

    def _arm(self, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = tick
        delay = (tick + 1) / TICKS_PER_S - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, delay), self._fire)

    def _fire(self) -> None:
        self._timer = None
        present = int(time.monotonic() * TICKS_PER_S)
        for tick in sorted(tick for tick in self._slots if tick < present):
            _call_all(self._slots.pop(tick))
        self._slots = {tick: slot for tick, slot in self._slots.items() if slot}
        if self._slots:
            self._arm(min(self._slots))


def _call_all(slot: set[Expire]) -> None:
    while slot:  # one that is called may take back another
        expire = slot.pop()
        try:
            expire()
        except Exception:
            log.exception("what was to happen at a deadline failed")


def _fail(future: "asyncio.Future[T]", late: str) -> None:
    if not future.done():
        future.set_exception(DeadlineExceededError(late))
