"""What a cluster tells of its requests: to their callers, in its logs, and as spans."""

import json
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any, cast

import grpc
import pytest
from grpc_status import rpc_status

from facet.recognition.v1 import recognition_pb2
from google.rpc import error_details_pb2, status_pb2
from tests.cluster.running import READY_S, RunningCluster
from tests.trace_receiver import ReceivedSpan, TraceReceiver

JITTER_NS = 2_000_000
"""Spans of several processes are told on clocks that are read one after the other."""
SERVER = 2
"""SpanKind of what serves a request."""


@dataclass(frozen=True, slots=True)
class Observed:
    """A cluster that tells all, and what receives its spans."""

    cluster: RunningCluster
    receiver: TraceReceiver

    def ask(
        self, request: recognition_pb2.RecognizeRequest, **metadata: str
    ) -> tuple[recognition_pb2.RecognizeResponse, str]:
        """Return the answer, and the id that the request has, as its caller is told."""
        pairs = [(key.replace("_", "-"), value) for key, value in metadata.items()]
        response, call = self.cluster.recognition.Recognize.with_call(
            request, timeout=60, metadata=pairs
        )
        return response, dict(call.trailing_metadata())["x-request-id"]

    def fails(self, request: recognition_pb2.RecognizeRequest, **metadata: str) -> grpc.RpcError:
        """Return the error of a request that fails."""
        with pytest.raises(grpc.RpcError) as caught:
            self.ask(request, **metadata)
        return caught.value

    def lines(self, service: str) -> list[dict[str, Any]]:
        """All that a process wrote; fails where a line is no object."""
        text = self.cluster.log(f"{service}-1")
        whole, _, _ = text.rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def lines_of(self, service: str, request_id: str) -> list[dict[str, Any]]:
        """The lines of one request, as soon as there are some."""
        deadline = time.monotonic() + READY_S
        while time.monotonic() < deadline:
            found = [
                line
                for line in self.lines(service)
                if request_id in (line.get("request_id"), *line.get("request_ids", ()))
            ]
            if found:
                return found
            threading.Event().wait(0.01)
        raise AssertionError(f"{service} says nothing of {request_id}")


def traceparent(*, sampled: bool) -> tuple[str, str, str]:
    """A new caller's trace: its header, its id, and the id of the caller's span."""
    trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    return f"00-{trace_id}-{span_id}-0{int(sampled)}", trace_id, span_id


def status_of(error: grpc.RpcError) -> status_pb2.Status:
    """The google.rpc.Status of a call that failed."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    assert status is not None
    return status


def request_named_in(status: status_pb2.Status) -> str:
    """The id in a status."""
    info = error_details_pb2.RequestInfo()
    assert any(detail.Unpack(info) for detail in status.details)
    return str(info.request_id)


def root_of(spans: list[ReceivedSpan]) -> ReceivedSpan | None:
    """The gateway's own span of a request."""
    return next((s for s in spans if s.service == "facet-gateway" and s.kind == SERVER), None)


def assert_within(inner: ReceivedSpan, outer: ReceivedSpan) -> None:
    """One span lies inside another one."""
    assert outer.start_ns - JITTER_NS <= inner.start_ns <= inner.end_ns
    assert inner.end_ns <= outer.end_ns + JITTER_NS
