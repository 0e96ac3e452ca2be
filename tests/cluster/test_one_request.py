"""One request, one id and one trace, through every process."""

import signal
from collections.abc import Callable, Iterator
from typing import cast

import grpc
import pytest

from facet.launcher.plan import MODULES, ClusterPlan
from facet.recognition.v1 import recognition_pb2
from tests.cluster.conftest import ImageRequest
from tests.cluster.crashing_preprocessing import POISON
from tests.cluster.observing import (
    SERVER,
    Observed,
    assert_within,
    request_named_in,
    root_of,
    status_of,
    traceparent,
)
from tests.cluster.running import run
from tests.reasons import reason_of
from tests.trace_receiver import receiving

SERVICES = ("gateway", "preprocessing", "scheduler", "inference", "aggregation")
SPANS = {
    "facet.recognition.v1.RecognitionService/Recognize": ("facet-gateway", None),
    "prepare": ("facet-gateway", "facet.recognition.v1.RecognitionService/Recognize"),
    "lease": ("facet-gateway", "facet.recognition.v1.RecognitionService/Recognize"),
    "infer": ("facet-gateway", "facet.recognition.v1.RecognitionService/Recognize"),
    "combine": ("facet-gateway", "facet.recognition.v1.RecognitionService/Recognize"),
    "prepared": ("facet-preprocessing", "prepare"),
    "leased": ("facet-scheduler", "lease"),
    "inferred": ("facet-inference", "infer"),
    "combined": ("facet-aggregation", "combine"),
}
"""Of one small request: name → whose it is, and the name of its parent."""


@pytest.fixture(scope="module")
def observed(make_plan: Callable[..., ClusterPlan]) -> Iterator[Observed]:
    """A cluster of one process a service; its decoder dies on the poison picture."""
    with receiving() as receiver:
        plan = make_plan(
            settings={
                "FACET_LOG_FORMAT": "json",
                "FACET_LOG_LEVEL": "debug",
                "FACET_TRACES": receiver.endpoint,
            },
            modules={**MODULES, "preprocessing": "tests.cluster.crashing_preprocessing"},
            instances={"inference": 1},
        )
        with run(plan) as running:
            yield Observed(running, receiver)


def test_the_id_is_in_the_logs_of_every_process(
    observed: Observed, digits_request: ImageRequest
) -> None:
    response, request_id = observed.ask(digits_request(), x_request_id="shop/order=17")
    assert request_id == "shop/order=17"
    assert response.results[0].classification.classes
    events = {
        service: [line["event"] for line in observed.lines_of(service, request_id)]
        for service in SERVICES
    }
    assert events == {
        "gateway": ["request answered"],
        "preprocessing": ["prepared"],
        "scheduler": ["leased"],
        "inference": ["inferred"],
        "aggregation": ["combined"],
    }


def test_what_is_wrong_with_a_picture_is_told_where_it_is_found(
    observed: Observed, digits_request: ImageRequest
) -> None:
    request = digits_request(2)
    request.images[1].content = b"this is no picture"
    response, request_id = observed.ask(request)
    assert reason_of(response.results[1].error) == "UNSUPPORTED_FORMAT"
    for service in SERVICES:
        observed.lines_of(service, request_id)
    told = observed.lines_of("preprocessing", request_id)
    assert [(line["event"], line["level"]) for line in told] == [
        ("picture refused", "warning"),
        ("prepared", "debug"),
    ]
    assert told[0]["reason"] == "UNSUPPORTED_FORMAT"
    assert (told[1]["pictures"], told[1]["failed"]) == (2, 1)


def test_a_request_that_fails_is_named_to_its_caller_and_in_the_log(
    observed: Observed, digits_request: ImageRequest
) -> None:
    request = digits_request(model=recognition_pb2.ModelSelector(name="nowhere"))
    error = observed.fails(request, x_request_id="lost-1")
    assert request_named_in(status_of(error)) == "lost-1"
    assert ("x-request-id", "lost-1") in cast(grpc.Call, error).trailing_metadata()
    (line,) = observed.lines_of("gateway", "lost-1")
    assert (line["level"], line["event"]) == ("warning", "request failed")
    assert (line["code"], line["reason"]) == ("NOT_FOUND", "MODEL_NOT_FOUND")
    assert line["method"] == "Recognize"


def test_an_id_that_is_no_name_is_replaced(
    observed: Observed, digits_request: ImageRequest
) -> None:
    ids = {observed.ask(digits_request(), x_request_id="two words")[1] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(each) == 16 for each in ids)


def test_requests_of_a_stream_are_numbered(
    observed: Observed, digits_request: ImageRequest
) -> None:
    bad = digits_request(model=recognition_pb2.ModelSelector(name="nowhere"))
    items = [
        recognition_pb2.StreamRecognizeRequest(id="good", request=digits_request()),
        recognition_pb2.StreamRecognizeRequest(id="bad", request=bad),
    ]
    responses = observed.cluster.recognition.StreamRecognize(
        iter(items), timeout=60, metadata=[("x-request-id", "stream-1")]
    )
    answers = {response.id: response for response in responses}
    assert answers["good"].response.results[0].classification.classes
    assert request_named_in(answers["bad"].error) == "stream-1/2"
    for service in SERVICES:
        observed.lines_of(service, "stream-1/1")
    assert [line["event"] for line in observed.lines_of("gateway", "stream-1/2")] == [
        "request failed"
    ]


def test_a_request_is_one_trace_through_all_services(
    observed: Observed, digits_request: ImageRequest
) -> None:
    header, trace_id, caller = traceparent(sampled=True)
    _, request_id = observed.ask(digits_request(), traceparent=header)
    spans = observed.receiver.wait_for(lambda spans: len(spans) >= len(SPANS), trace_id)
    by_name = {span.name: span for span in spans}
    assert by_name.keys() == SPANS.keys()
    assert len(spans) == len(by_name)
    for name, (service, parent) in SPANS.items():
        span = by_name[name]
        assert span.service == service
        assert span.parent == (by_name[parent].span_id if parent else caller)
        if parent is not None:
            assert_within(span, by_name[parent])
    root = by_name["facet.recognition.v1.RecognitionService/Recognize"]
    assert root.kind == SERVER
    assert root.attributes["rpc.system"] == "grpc"
    assert root.attributes["rpc.method"] == "Recognize"
    assert root.attributes["rpc.grpc.status_code"] == 0
    assert {span.attributes["facet.request_id"] for span in spans if span.kind == SERVER} == {
        request_id
    }
    assert by_name["infer"].attributes["facet.shard"].startswith("inference-1-")


def test_a_batch_is_linked_with_the_requests_in_it(
    observed: Observed, digits_request: ImageRequest
) -> None:
    header, trace_id, _ = traceparent(sampled=True)
    observed.ask(digits_request(3), traceparent=header)
    spans = observed.receiver.wait_for(lambda spans: len(spans) >= len(SPANS), trace_id)
    (inferred,) = [span for span in spans if span.name == "inferred"]
    (batch,) = [
        span
        for span in observed.receiver.wait_for(
            lambda all_spans: any(inferred.span_id in span.links for span in all_spans)
        )
        if inferred.span_id in span.links
    ]
    assert (batch.name, batch.service, batch.parent) == ("batch", "facet-inference", "")
    assert batch.trace_id != trace_id
    assert inferred.links == (batch.span_id,)
    assert inferred.attributes["facet.batch"] == batch.attributes["facet.batch"]
    assert inferred.attributes["facet.batch_images"] == batch.attributes["facet.images"] == 3
    assert inferred.attributes["facet.device_us"] > 0
    assert_within(batch, inferred)


def test_a_request_that_fails_is_a_failed_span(
    observed: Observed, digits_request: ImageRequest
) -> None:
    header, trace_id, _ = traceparent(sampled=True)
    request = digits_request(model=recognition_pb2.ModelSelector(name="nowhere"))
    observed.fails(request, traceparent=header)
    (span,) = observed.receiver.wait_for(bool, trace_id)
    assert span.attributes["rpc.grpc.status_code"] == grpc.StatusCode.NOT_FOUND.value[0]
    assert span.attributes["error.type"] == "MODEL_NOT_FOUND"
    assert not span.failed  # it was the caller's fault


def test_a_caller_that_does_not_trace_is_not_traced(
    observed: Observed, digits_request: ImageRequest
) -> None:
    header, unwanted, _ = traceparent(sampled=False)
    observed.ask(digits_request(), traceparent=header)
    header, wanted, _ = traceparent(sampled=True)
    observed.ask(digits_request(), traceparent=header)
    observed.receiver.wait_for(lambda spans: len(spans) >= len(SPANS), wanted)
    assert unwanted not in {span.trace_id for span in observed.receiver.spans}


def test_a_decoder_that_dies_names_whose_picture_it_had(
    observed: Observed, digits_request: ImageRequest
) -> None:
    request = digits_request()
    request.images[0].content = POISON
    response, request_id = observed.ask(request)
    assert reason_of(response.results[0].error) == "DECODER_CRASHED"
    events = [line["event"] for line in observed.lines_of("gateway", request_id)]
    assert events[0] == "preprocessing lost"
    assert "preprocessing lost with one picture" in events
    observed.cluster.wait_ready()


def test_spans_are_delivered_before_a_process_ends(
    observed: Observed, digits_request: ImageRequest
) -> None:
    header, trace_id, _ = traceparent(sampled=True)
    observed.ask(digits_request(), traceparent=header)
    observed.cluster.kill("gateway-1", signal.SIGTERM)
    observed.receiver.wait_for(lambda spans: root_of(spans) is not None, trace_id)


def test_every_line_is_an_object_that_names_its_process(observed: Observed) -> None:
    for service in SERVICES:
        lines = observed.lines(service)
        assert lines
        for line in lines:
            assert line["service"] == service
            assert line["instance"].startswith(f"{service}-1-")
            assert line["event"]
