"""Requests that go on while something happens to the cluster."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc

from facet.recognition.v1 import recognition_pb2
from tests.cluster.running import RunningCluster

CALLERS = 8


@dataclass
class Load:
    """What came back."""

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

    def ask(self, cluster: RunningCluster) -> None:
        """Send the request once and note what came back."""
        try:
            response = cluster.recognition.Recognize(self.request, timeout=60)
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
    cluster: RunningCluster, request: recognition_pb2.RecognizeRequest, expected: list[str]
) -> Iterator[Load]:
    """Keep several callers asking; at the end every request was answered, and rightly."""
    running = Load(request, expected)
    stop = threading.Event()

    def caller() -> None:
        while not stop.is_set():
            running.ask(cluster)

    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    try:
        yield running
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not running.failed, f"lost {len(running.failed)}: {running.failed[:3]}"
    assert not running.wrong, f"wrong {len(running.wrong)}: {running.wrong[:3]}"
