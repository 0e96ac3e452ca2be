"""What is told of the pictures of each request."""

import time
from collections.abc import Sequence

import structlog

from facet.preprocessing.v1 import preprocessing_pb2
from services.common.errors import FacetError
from services.common.tracing.sparing import SparingLog
from services.common.tracing.trail import Hop, Trail

log = structlog.get_logger(__name__)


class Account:
    """Tells what became of pictures, request by request."""

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._failures = SparingLog(log)

    def prepared(
        self,
        call: preprocessing_pb2.PrepareRequest,
        errors: Sequence[FacetError | None],
        began: float,
    ) -> None:
        """Tell of a call that began then (of time.monotonic); None: that picture is prepared."""
        if not self._trail.active and not any(errors):
            return
        first, ended = 0, time.monotonic()
        for theirs in call.requests:
            failed = [e for e in errors[first : first + theirs.pictures] if e is not None]
            first += theirs.pictures
            for error in failed:
                self._failures.warning(
                    "picture refused",
                    error.reason,
                    request_id=theirs.context.request_id,
                    error=error.message,
                )
            if self._trail.wants(theirs.context):
                fields = {"pictures": theirs.pictures, "failed": len(failed)}
                self._trail.hop("prepared", Hop(theirs.context, began, ended, fields))
