"""What OpenTelemetry complains of, as few lines of ours: traces are not worth more."""

import logging
import time
from typing import Final

import structlog

log = structlog.get_logger(__name__)

COMPLAIN_EVERY_S: Final = 60.0


def complain_little() -> None:
    """Write a line a minute at most while spans cannot be delivered, or are too many."""
    logger = logging.getLogger("opentelemetry")
    logger.propagate = False
    logger.handlers = [_Complaints()]


class _Complaints(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._next = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if (now := time.monotonic()) >= self._next:
            self._next = now + COMPLAIN_EVERY_S
            log.warning("trouble with traces", reason=record.getMessage())
