"""How long one picture may take.

A decoder is C code in a thread, which nothing can interrupt: the process ends, and is started
again by whoever keeps it running. Gateways then try its pictures one by one; the one that does it
again is answered with DECODER_CRASHED, all others with their pixels.
"""

import asyncio
import faulthandler
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

LOOKS: Final = 4
"""How often is looked while the time of a picture passes."""
STUCK: Final = 2.0
"""A process whose event loop does not come round for so many times the limit is ended, too, by a
thread of the interpreter that needs no lock of its: a decoder may hold that one."""
EXIT_STUCK: Final = 70
"""EX_SOFTWARE of sysexits.h."""


def _end() -> None:
    sys.stderr.flush()
    os._exit(EXIT_STUCK)


class Watchdog:
    """Knows since when each thread has been at its picture."""

    def __init__(self, limit_s: float, end: Callable[[], None] = _end) -> None:
        """`limit_s`: for one picture, in seconds; `end` ends the process."""
        self._limit_s = limit_s
        self._end = end
        self._begun: dict[int, float] = {}

    def begin(self) -> None:
        """This thread begins a picture."""
        self._begun[threading.get_ident()] = time.monotonic()

    def done(self) -> None:
        """This thread has done with it."""
        self._begun.pop(threading.get_ident(), None)

    async def run(self) -> None:
        """Look again and again; never returns by itself."""
        armed = False
        try:
            while True:
                await asyncio.sleep(self._limit_s / LOOKS)
                begun = list(self._begun.values())
                if begun:
                    # Its traceback names functions and lines, no values.
                    faulthandler.dump_traceback_later(
                        STUCK * self._limit_s, exit=True, file=sys.__stderr__ or 2
                    )
                    self._judge(time.monotonic() - min(begun))
                elif armed:
                    faulthandler.cancel_dump_traceback_later()
                armed = bool(begun)
        finally:
            if armed:
                faulthandler.cancel_dump_traceback_later()

    def _judge(self, seconds: float) -> None:
        if seconds > self._limit_s:
            log.error(
                "a picture takes too long; the process ends, and its pictures are tried one by one",
                setting="FACET_DECODE_S",
                limit_s=self._limit_s,
                seconds=round(seconds, 3),
            )
            self._end()
