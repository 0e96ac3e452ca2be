"""Every call of a public service is a request: it gets its id before anything else looks at it."""

from typing import Final

import grpc

from services.common.http2.headers import Header
from services.common.http2.interceptor import Interceptor
from services.common.http2.server_call import ServerCall
from services.common.tracing.context import REQUEST_ID, TRACEPARENT, sane_request_id
from services.common.tracing.requests import Requests
from services.common.tracing.span import CURRENT, Span

PUBLIC: Final = "/facet."
"""Health checks and reflection are no requests."""


class RequestInterceptor(Interceptor):
    """Names calls, tells callers the name, and makes it known to what serves the call."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._spans: dict[ServerCall, Span] = {}
        self._nameless: list[Header] | None = None
        """Headers that neither name their request nor its trace."""

    def admit(self, call: ServerCall) -> None:
        """See Interceptor."""
        if not call.path.startswith(PUBLIC):
            return
        request_id = traceparent = None
        # The headers of one more call of the same kind are the same object.
        if call.headers is not self._nameless:
            for name, value in call.headers:
                if name == REQUEST_ID:
                    request_id = sane_request_id(value)
                elif name == TRACEPARENT:
                    traceparent = value.decode("latin-1")
            if request_id is traceparent is None:
                self._nameless = call.headers
        self._spans[call] = span = self._requests.begin(request_id, traceparent, call.path)
        call.add_trailing(REQUEST_ID, span.context.request_id.encode())

    def began(self, call: ServerCall) -> None:
        """See Interceptor."""
        if (span := self._spans.get(call)) is not None:
            CURRENT.set(span)

    def ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """See Interceptor."""
        if (span := self._spans.pop(call, None)) is not None:
            self._requests.over(span, call.path, code)
