"""Spans by OpenTelemetry, delivered by OTLP over gRPC. Imported only where traces are switched on.

What is traced is decided where a request begins, by this module and not by the SDK's samplers: a
request that is not to be traced costs one random number, and the SDK never hears of it.
"""

import asyncio
import random
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from facet.type.v1 import request_pb2
from services.common.errors import FacetError
from services.common.tracing.complaints import complain_little
from services.common.tracing.context import Parent
from services.common.tracing.span import Span, part_of
from services.common.tracing.trail import Batch, Hop

log = structlog.get_logger(__name__)

MAX_WAITING: Final = 8_192
"""Spans that wait to be delivered; where the receiver is slower, the others are dropped."""
DELIVER_EVERY_MS: Final = 1_000
DELIVERED_WITHIN_S: Final = 5.0
"""A receiver that takes longer does not get those spans."""
NAMES: Final = "facet."
"""What the attributes are called that no convention has a name for."""
OUR_FAULTS: Final = frozenset(
    (
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    )
)
"""Codes by which a server's span counts as failed, by OpenTelemetry's conventions for gRPC."""


class OtlpTracer:
    """Makes spans, and delivers them from a thread of its own. See Tracer."""

    def __init__(self, service: str, instance: str, endpoint: str, ratio: float) -> None:
        """`endpoint`: URL of the receiver; `ratio`: share of requests that are traced, 0 to 1."""
        complain_little()
        self._ratio = ratio
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=DELIVERED_WITHIN_S)
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {"service.name": f"facet-{service}", "service.instance.id": instance}
            ),
            shutdown_on_exit=False,  # it would wait for a receiver that does not answer
        )
        self._provider.add_span_processor(
            BatchSpanProcessor(
                exporter,
                max_queue_size=MAX_WAITING,
                schedule_delay_millis=DELIVER_EVERY_MS,
            )
        )
        self._tracer = self._provider.get_tracer("facet")

    def root(
        self, context: request_pb2.RequestContext, parent: Parent | None, method: str
    ) -> Span | None:
        """See Tracer: as the caller decided for its trace, else by the ratio."""
        wanted = parent.sampled if parent is not None else random.random() < self._ratio
        if not wanted:
            return None
        service, _, name = method.lstrip("/").partition("/")
        span = self._tracer.start_span(
            method.lstrip("/"),
            _context(parent) if parent is not None else Context(),
            trace.SpanKind.SERVER,
            {
                "rpc.system": "grpc",
                "rpc.service": service,
                "rpc.method": name,
                f"{NAMES}request_id": context.request_id,
            },
        )
        return TracedSpan(self._tracer, span, context, serves=True)

    def hop(self, name: str, hop: Hop) -> None:
        """See Tracer."""
        self._start_hop(name, hop, ()).end(_epoch_ns(hop.ended))

    def batch(self, name: str, batch: Batch, hops: Sequence[Hop]) -> None:
        """See Tracer. The batch is a trace of its own: it belongs to many."""
        span = self._tracer.start_span(
            batch.name,
            Context(),
            attributes={f"{NAMES}{key}": value for key, value in batch.fields.items()},
            start_time=_epoch_ns(batch.began),
        )
        link = trace.Link(span.get_span_context())
        for hop in hops:
            child = self._start_hop(name, hop, (link,))
            span.add_link(child.get_span_context())
            child.end(_epoch_ns(hop.ended))
        span.end(_epoch_ns(batch.ended))

    async def close(self, within_s: float) -> None:
        """See Tracer."""
        delivered = asyncio.Event()
        loop = asyncio.get_running_loop()

        def shut_down() -> None:
            self._provider.shutdown()
            with suppress(RuntimeError):  # the process did not wait any longer
                loop.call_soon_threadsafe(delivered.set)

        # Nobody waits for a daemon when the process ends, as it would for one of an executor.
        threading.Thread(target=shut_down, name="last spans", daemon=True).start()
        try:
            async with asyncio.timeout(within_s):
                await delivered.wait()
        except TimeoutError:
            log.warning("not all spans could be delivered in time")

    def _start_hop(self, name: str, hop: Hop, links: Sequence[trace.Link]) -> trace.Span:
        parent = Parent.read(hop.context.traceparent)
        attributes = {f"{NAMES}{key}": value for key, value in hop.fields.items()}
        attributes[f"{NAMES}request_id"] = hop.context.request_id
        span = self._tracer.start_span(
            name,
            _context(parent) if parent is not None else Context(),
            trace.SpanKind.SERVER,
            attributes,
            links,
            _epoch_ns(hop.began),
        )
        if "error" in hop.fields:
            span.set_status(trace.StatusCode.ERROR, str(hop.fields["error"]))
        return span


class TracedSpan(Span):
    """A span that is told."""

    __slots__ = ("_serves", "_span", "_tracer")

    def __init__(
        self,
        tracer: trace.Tracer,
        span: trace.Span,
        context: request_pb2.RequestContext,
        *,
        serves: bool,
    ) -> None:
        """`serves`: it is a request, which may fail by its caller's fault, and no step of one."""
        own = span.get_span_context()
        traceparent = Parent(own.trace_id, own.span_id, sampled=True).write()
        super().__init__(
            request_pb2.RequestContext(request_id=context.request_id, traceparent=traceparent)
        )
        self._tracer = tracer
        self._span = span
        self._serves = serves

    def begin(self, name: str, **attributes: str | int) -> "TracedSpan":
        """See Span."""
        return self._child(name, self.context, trace.SpanKind.CLIENT, attributes)

    def part(self, number: int) -> "TracedSpan":
        """See Span."""
        context = part_of(self.context, number)
        return self._child(
            "request", context, trace.SpanKind.INTERNAL, {"request_id": context.request_id}
        )

    def fail(self, error: FacetError) -> None:
        """See Span."""
        super().fail(error)
        self._span.set_attribute("error.type", error.reason)
        if not self._serves:
            self._span.set_status(trace.StatusCode.ERROR, error.message)

    def answered(self, code: grpc.StatusCode) -> None:
        """See Span."""
        self._span.set_attribute("rpc.grpc.status_code", code.value[0])
        if code in OUR_FAULTS:
            why = self.error.message if self.error else code.name
            self._span.set_status(trace.StatusCode.ERROR, why)
        self.end()

    def end(self) -> None:
        """See Span."""
        if self._span.is_recording():
            self._span.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace_back: TracebackType | None,
    ) -> None:
        if isinstance(error, FacetError):
            self.fail(error)
        elif error is not None:
            self._span.set_status(trace.StatusCode.ERROR, type(error).__name__)
        self.end()

    def _child(
        self,
        name: str,
        context: request_pb2.RequestContext,
        kind: trace.SpanKind,
        attributes: dict[str, str | int],
    ) -> "TracedSpan":
        span = self._tracer.start_span(
            name,
            trace.set_span_in_context(self._span, Context()),
            kind,
            {f"{NAMES}{key}": value for key, value in attributes.items()},
        )
        serves = kind is not trace.SpanKind.CLIENT
        return TracedSpan(self._tracer, span, context, serves=serves)


def _context(parent: Parent) -> Context:
    """A parent in another process, as the SDK wants to be told of it."""
    remote = trace.SpanContext(
        parent.trace_id, parent.span_id, is_remote=True, trace_flags=trace.TraceFlags(1)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())


def _epoch_ns(moment: float) -> int:
    """Return a moment of time.monotonic as spans have it."""
    return time.time_ns() - int((time.monotonic() - moment) * 1e9)
