"""Counts the gRPC calls that a process serves, by the names that go-grpc-middleware gave them."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import grpc
from prometheus_client.core import Metric

from services.common.http2.interceptor import Interceptor
from services.common.http2.server_call import ServerCall
from services.common.metrics.counts import Histogram, Key
from services.common.metrics.families import counter, histogram

LABELS: Final = ("grpc_type", "grpc_service", "grpc_method")
TYPES: Final = {
    (False, False): "unary",
    (False, True): "server_stream",
    (True, False): "client_stream",
    (True, True): "bidi_stream",
}
"""(requests, responses) are streams → as go-grpc-middleware calls it."""
CODES: Final = {
    code: "".join(word.capitalize() for word in code.name.split("_"))
    if code is not grpc.StatusCode.OK
    else "OK"
    for code in grpc.StatusCode
}
"""The codes as Go writes them, such as NotFound: what dashboards for gRPC look for."""


class CallCounter(Interceptor):
    """Counts calls of methods that are there, those included that are refused."""

    def __init__(self) -> None:
        self._methods: dict[str, _Method] = {}
        self._open: dict[ServerCall, tuple[_Method, float]] = {}
        """Since when each call goes on that is not ended."""

    def admit(self, call: ServerCall) -> None:
        """See Interceptor."""
        if (method := self._methods.get(call.path)) is None:
            method = self._methods[call.path] = _Method()
        method.started += 1
        self._open[call] = method, time.perf_counter()

    def ended(self, call: ServerCall, code: grpc.StatusCode) -> None:
        """See Interceptor."""
        if (begun := self._open.pop(call, None)) is None:
            return  # another interceptor refused it first
        method, since = begun
        if code is grpc.StatusCode.OK:  # hashing one of these codes takes as long as all the rest
            method.succeeded += 1
        else:
            method.failed[code] = method.failed.get(code, 0) + 1
        method.seconds.observe(time.perf_counter() - since)

    def families(self, handlers: Mapping[str, Any]) -> Iterable[Metric]:
        """Return what was counted of the server with these handlers."""
        keys = {path: _labels(path, handlers[path]) for path in self._methods}
        methods = [(keys[path], method) for path, method in self._methods.items()]
        yield counter(
            "grpc_server_started",
            "Calls that came in.",
            [(key, method.started) for key, method in methods],
            LABELS,
        )
        yield counter(
            "grpc_server_handled",
            "Calls that ended, by their status.",
            [
                ((*key, CODES[code]), count)
                for key, method in methods
                for code, count in method.handled()
            ],
            (*LABELS, "grpc_code"),
        )
        yield histogram(
            "grpc_server_handling_seconds",
            "Time from the headers of a call to its end. Streams last as long as their peers.",
            [(key, method.seconds) for key, method in methods],
            LABELS,
        )


class _Method:
    __slots__ = ("failed", "seconds", "started", "succeeded")

    def __init__(self) -> None:
        self.started = 0
        self.succeeded = 0
        self.failed: dict[grpc.StatusCode, int] = {}
        self.seconds = Histogram()

    def handled(self) -> Iterator[tuple[grpc.StatusCode, int]]:
        if self.succeeded:
            yield grpc.StatusCode.OK, self.succeeded
        yield from self.failed.items()


def _labels(path: str, handler: Any) -> Key:
    _, service, method = path.split("/")
    kind = TYPES[bool(handler.request_streaming), bool(handler.response_streaming)]
    return kind, service, method
