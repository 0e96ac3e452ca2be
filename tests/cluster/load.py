"""Requests that go on while something happens to the cluster."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from tests.cluster.running import RunningCluster

CALLERS = 8

Ask = Callable[[recognition_pb2.RecognizeRequest], recognition_pb2.RecognizeResponse]


@dataclass
class Load:
    """What came back."""

    call: Ask
    request: recognition_pb2.RecognizeRequest
    expected: list[str]
    answered: int = 0
    wrong: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, answers: int) -> None:
        """Wait until so many more requests have been answered."""
        with self.changed:
            target = self.answered + answers
            assert self.changed.wait_for(lambda: self.answered >= target, 60), (
                f"{self.answered} answered, {self.failed[:3]}"
            )

    def ask(self) -> None:
        """Send the request once and note what came back."""
        try:
            response = self.call(self.request)
            labels = [
                result.classification.classes[0].label
                if result.HasField("classification")
                else result.error.message
                for result in response.results
            ]
            problem = None if labels == self.expected else f"{labels} != {self.expected}"
            failure = None
        except grpc.RpcError as error:
            problem, failure = None, f"{error.code()}: {error.details()}"
        with self.changed:
            self.answered += failure is None
            self.wrong += [problem] if problem else []
            self.failed += [failure] if failure else []
            self.changed.notify_all()


@contextmanager
def load(
    cluster: RunningCluster,
    request: recognition_pb2.RecognizeRequest,
    expected: list[str],
    *,
    ask: Ask | None = None,
    callers: int = CALLERS,
    may_fail: bool = False,
) -> Iterator[Load]:
    """Keep several callers asking a cluster; see `keep_asking`.

    They share the cluster's channel, unless `ask` says how they ask.
    """

    def over_the_channel(
        request: recognition_pb2.RecognizeRequest,
    ) -> recognition_pb2.RecognizeResponse:
        response: recognition_pb2.RecognizeResponse = cluster.recognition.Recognize(
            request, timeout=60
        )
        return response

    asking = keep_asking(
        ask or over_the_channel, request, expected, callers=callers, may_fail=may_fail
    )
    with asking as running:
        yield running


@contextmanager
def keep_asking(
    ask: Ask,
    request: recognition_pb2.RecognizeRequest,
    expected: list[str],
    *,
    callers: int = CALLERS,
    may_fail: bool = False,
) -> Iterator[Load]:
    """Keep several callers asking; at the end every request was answered, and rightly."""
    running = Load(ask, request, expected)
    stop = threading.Event()

    def caller() -> None:
        while not stop.is_set():
            running.ask()

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert may_fail or not running.failed, f"lost {len(running.failed)}: {running.failed[:3]}"
    assert not running.wrong, f"wrong {len(running.wrong)}: {running.wrong[:3]}"


def asking_anew(address: str, *, retries: bool) -> Ask:
    """Ask over a connection of its own each time."""

    def ask(request: recognition_pb2.RecognizeRequest) -> recognition_pb2.RecognizeResponse:
        with _channel(address, retries=retries) as channel:
            stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
            response: recognition_pb2.RecognizeResponse = stub.Recognize(request, timeout=60)
            return response

    return ask


@contextmanager
def kept_connections(address: str, *, retries: bool, timeout: float = 60) -> Iterator[Ask]:
    """Ask over connections that are kept, one to a caller."""
    channels = [_channel(address, retries=retries) for _ in range(CALLERS)]
    free = [recognition_pb2_grpc.RecognitionServiceStub(channel) for channel in channels]

    def ask(request: recognition_pb2.RecognizeRequest) -> recognition_pb2.RecognizeResponse:
        stub = free.pop()
        try:
            response: recognition_pb2.RecognizeResponse = stub.Recognize(request, timeout=timeout)
            return response
        finally:
            free.append(stub)

    try:
        yield ask
    finally:
        for channel in channels:
            channel.close()


def _channel(address: str, *, retries: bool) -> grpc.Channel:
    policy = {
        "maxAttempts": 5,
        "initialBackoff": "0.5s",
        "maxBackoff": "2s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    config = {"methodConfig": [{"name": [{}], "retryPolicy": policy}]} if retries else {}
    return grpc.insecure_channel(
        address,
        options=[
            # Else the channels of a process share a connection.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.service_config", json.dumps(config)),
            # By default all attempts at a call are over before it connects again.
            ("grpc.initial_reconnect_backoff_ms", 100),
            # The environment's proxies know nothing of hosts that tests make.
            ("grpc.enable_http_proxy", 0),
        ],
    )
