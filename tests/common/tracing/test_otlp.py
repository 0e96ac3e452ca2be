"""Spans by OpenTelemetry, to a receiver that is there and to one that is not."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import structlog
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

from facet.type.v1 import request_pb2
from services.common.errors import InternalError, InvalidRequestError
from services.common.tracing import otlp
from services.common.tracing.context import Parent
from services.common.tracing.otlp import OtlpTracer
from services.common.tracing.span import Span
from services.common.tracing.trail import Batch, Hop
from tests.ports import free_port
from tests.trace_receiver import TraceReceiver, receiving

METHOD = "/facet.recognition.v1.RecognitionService/Recognize"
PATIENCE_S = 20.0
NOT_FOR_LONG_S = 0.2
THREADS = ("last spans", "OtelBatchSpanRecordProcessor")
"""Of every tracer."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[TraceReceiver]:
    with receiving() as running:
        yield running


@pytest.fixture(autouse=True)
def no_thread_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """End what tries on after a test, in a process that does not end with it."""
    exporters: list[OTLPSpanExporter] = []

    def exporter(**options: Any) -> OTLPSpanExporter:
        exporters.append(OTLPSpanExporter(**options))
        return exporters[-1]

    monkeypatch.setattr(otlp, "OTLPSpanExporter", exporter)
    yield
    for each in exporters:
        each.shutdown()
    for thread in threading.enumerate():
        if thread.name in THREADS:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def named(request_id: str = "r-1") -> request_pb2.RequestContext:
    return request_pb2.RequestContext(request_id=request_id)


def root(tracer: OtlpTracer, request_id: str = "r-1", parent: Parent | None = None) -> Span:
    span = tracer.root(named(request_id), parent, METHOD)
    assert span is not None
    return span


async def test_the_ratio_is_for_those_whose_caller_has_not_decided() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    none, every = (OtlpTracer("gateway", "g", nowhere, ratio) for ratio in (0.0, 1.0))
    wanted, unwanted = Parent(1, 2, sampled=True), Parent(1, 2, sampled=False)
    assert none.root(named(), None, METHOD) is None
    assert none.root(named(), wanted, METHOD) is not None
    assert every.root(named(), None, METHOD) is not None
    assert every.root(named(), unwanted, METHOD) is None
    half = OtlpTracer("gateway", "g", nowhere, 0.5)
    traced = sum(half.root(named(), None, METHOD) is not None for _ in range(1000))
    assert 300 < traced < 700
    for tracer in (none, every, half):
        await tracer.close(0.0)


async def test_what_is_left_is_delivered_at_the_end(receiver: TraceReceiver) -> None:
    tracer = OtlpTracer("gateway", "gateway-7", receiver.endpoint, 1.0)
    span = root(tracer, "r-7", Parent(7, 70, sampled=True))
    assert span.context.request_id == "r-7"
    assert span.context.traceparent.startswith(f"00-{7:032x}-")
    with span.begin("prepare", pictures=3) as step:
        assert step.context.traceparent != span.context.traceparent
    with pytest.raises(InternalError), span.begin("combine"):
        raise InternalError("broken")
    span.answered(grpc.StatusCode.OK)
    span.end()  # once more is no matter
    await tracer.close(PATIENCE_S)
    spans = {each.name: each for each in receiver.spans if each.instance == "gateway-7"}
    assert spans.keys() == {METHOD[1:], "prepare", "combine"}
    assert spans[METHOD[1:]].parent == f"{70:016x}"
    assert spans["prepare"].attributes == {"facet.pictures": 3}
    assert (spans["prepare"].failed, spans["combine"].failed) == (False, True)
    assert spans["combine"].attributes["error.type"] == "INTERNAL"


@pytest.mark.parametrize(
    ("code", "failed"),
    [(grpc.StatusCode.INVALID_ARGUMENT, False), (grpc.StatusCode.DEADLINE_EXCEEDED, True)],
)
async def test_what_its_caller_did_wrong_is_no_failure(
    receiver: TraceReceiver, code: grpc.StatusCode, failed: bool
) -> None:
    tracer = OtlpTracer("gateway", f"gateway-{code.name}", receiver.endpoint, 1.0)
    span = root(tracer)
    span.fail(InvalidRequestError("no"))
    span.answered(code)
    await tracer.close(PATIENCE_S)
    (told,) = [each for each in receiver.spans if each.instance == f"gateway-{code.name}"]
    assert told.failed is failed
    assert told.attributes["rpc.grpc.status_code"] == code.value[0]


async def test_a_batch_and_its_requests_know_each_other(receiver: TraceReceiver) -> None:
    tracer = OtlpTracer("inference", "inference-7", receiver.endpoint, 1.0)
    now = time.monotonic()
    roots = [root(tracer, f"r-{number}") for number in range(3)]
    hops = [Hop(each.context, now - 0.5, now, {"images": 1}) for each in roots]
    tracer.batch("inferred", Batch("batch", now - 0.4, now - 0.1, {"images": 3}), hops)
    await tracer.close(PATIENCE_S)
    spans = [each for each in receiver.spans if each.instance == "inference-7"]
    (batch,) = [each for each in spans if each.name == "batch"]
    inferred = [each for each in spans if each.name == "inferred"]
    assert sorted(batch.links) == sorted(each.span_id for each in inferred)
    assert len({each.trace_id for each in (batch, *inferred)}) == 4
    for each in inferred:
        assert each.links == (batch.span_id,)
        assert each.start_ns < batch.start_ns < batch.end_ns < each.end_ns


async def test_a_receiver_that_is_not_there_costs_one_line_and_no_time() -> None:
    tracer = OtlpTracer("gateway", "g", f"http://127.0.0.1:{free_port()}", 1.0)
    with structlog.testing.capture_logs() as lines:
        for _ in range(10_000):
            root(tracer).end()
        await tracer.close(NOT_FOR_LONG_S)
    events = [line["event"] for line in lines]
    assert events.count("trouble with traces") == 1
    assert events[-1] == "not all spans could be delivered in time"
