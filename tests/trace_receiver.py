"""An OTLP receiver: a gRPC server that keeps the spans that it is sent."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span, with the process that it is from."""

    service: str
    instance: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    """Id of a span; empty where there is none."""
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: tuple[str, ...]
    """Ids of spans."""
    failed: bool


@dataclass
class TraceReceiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what comes."""

    endpoint: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def Export(self, request: Any, context: Any) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take spans in."""
        with self._changed:
            for group in request.resource_spans:
                resource = _attributes(group.resource.attributes)
                for scope in group.scope_spans:
                    self.spans += [_received(span, resource) for span in scope.spans]
            self._changed.notify_all()
        return trace_service_pb2.ExportTraceServiceResponse()

    def wait_for(
        self, holds: Callable[[list[ReceivedSpan]], bool], trace_id: str | None = None
    ) -> list[ReceivedSpan]:
        """Return the spans (of a trace) as soon as it holds for them; fails when it never does."""
        found: list[ReceivedSpan] = []

        def there() -> bool:
            found[:] = [s for s in self.spans if trace_id is None or s.trace_id == trace_id]
            return holds(found)

        with self._changed:
            came = self._changed.wait_for(there, PATIENCE_S)
        assert came, [(span.service, span.name) for span in found]
        return found


@contextmanager
def receiving() -> Iterator[TraceReceiver]:
    """A receiver at a port of this host, for the time of the block."""
    receiver = TraceReceiver()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()


def _received(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        service=resource["service.name"],
        instance=resource["service.instance.id"],
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes=_attributes(span.attributes),
        links=tuple(link.span_id.hex() for link in span.links),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _attributes(given: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in given}
