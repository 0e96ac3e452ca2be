"""Where requests begin and end: at the gateway."""

import time
from typing import Final

import grpc
import structlog

from facet.type.v1 import request_pb2
from services.common.tracing.context import Parent, new_request_id
from services.common.tracing.span import Span
from services.common.tracing.sparing import SparingLog
from services.common.tracing.trail import Trail, milliseconds

log = structlog.get_logger(__name__)

_OK: Final = grpc.StatusCode.OK
_LEFT: Final = grpc.StatusCode.CANCELLED
"""Its caller went away: that is nobody's failure."""


class Requests:
    """Begins requests, and tells how they ended.

    One that failed is a warning, as long as there are not too many of them; one that was answered
    is a line at level debug, since a line takes as long as a tenth of a small request.
    """

    def __init__(self, trail: Trail) -> None:
        self._trail = trail
        self._failures = SparingLog(log)

    def begin(self, request_id: str | None, traceparent: str | None, method: str) -> Span:
        """Return a new request, by its caller's id or one of its own."""
        context = request_pb2.RequestContext(request_id=request_id or new_request_id())
        if self._trail.tracer is not None:
            parent = Parent.read(traceparent) if traceparent else None
            if (span := self._trail.tracer.root(context, parent, method)) is not None:
                return span
        return Span(context)

    def over(self, span: Span, method: str, code: grpc.StatusCode) -> None:
        """Tell how a request ended."""
        if code is _OK and not self._trail.wants(span.context):
            return
        fields = {
            "request_id": span.context.request_id,
            "method": method.rpartition("/")[2],
            "ms": milliseconds(time.monotonic() - span.began),
        }
        if code is _OK:
            log.debug("request answered", **fields)
        elif code is _LEFT:
            log.debug("request cancelled", **fields)
        else:
            error = span.error
            reason = error.reason if error else code.name
            message = error.message if error else ""
            self._failures.warning(
                "request failed", reason, code=code.name, error=message, **fields
            )
        span.answered(code)
