"""Gateways with ports of their own, as on several machines: one scheduler leases to all."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import grpc
import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from tests.cluster.commands import FACET
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import load
from tests.cluster.running import READY_S, RunningCluster, run
from tests.fixtures_consul import ConsulServer
from tests.ports import free_port


class Served(RunningCluster):
    """The cluster as seen by a gateway that `facet serve gateway` runs, which nobody restarts."""

    def __init__(self, cluster: RunningCluster, name: str) -> None:
        super().__init__(cluster.plan)
        port = free_port()
        self.name = name
        self.gateway = f"127.0.0.1:{port}"
        settings = {
            **cluster.plan.settings,
            "FACET_HOME": str(cluster.plan.home),
            "FACET_NAME": name,
            "FACET_PORT": str(port),
        }
        with (cluster.plan.home / "logs" / f"{name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [FACET, "serve", "gateway"], env={**os.environ, **settings}, stderr=log
            )

    def wait_serving(self) -> str:
        """Wait until it sees itself and can answer; returns its id."""
        grpc.channel_ready_future(self.channel).result(READY_S)

        def there(view: cluster_pb2.Cluster) -> list[str]:
            return [i.id for i in view.instances if i.address == self.gateway]

        view = self.wait_for_view(lambda view: bool(not view.missing and there(view)))
        return there(view)[0]

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(READY_S)

    def close(self) -> None:
        """Let nothing remain."""
        super().close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", params=["file", "consul"])
def cluster_apart(
    request: pytest.FixtureRequest, make_plan: Callable[..., ClusterPlan]
) -> Iterator[RunningCluster]:
    """A cluster with one more gateway, which only looks on."""
    settings = {}
    if request.param == "consul":
        consul: ConsulServer = request.getfixturevalue("shared_consul")
        settings["FACET_REGISTRY"] = consul.url("gateways-apart")
    with run(make_plan(settings=settings, instances={"inference": 2})) as running:
        yield running


@pytest.fixture
def pair(cluster_apart: RunningCluster) -> Iterator[tuple[Served, Served]]:
    """Two gateways that serve."""
    with ExitStack() as stack:
        both = Served(cluster_apart, "left"), Served(cluster_apart, "right")
        for each in both:
            stack.callback(each.close)
        for each in both:
            each.wait_serving()
        yield both


def test_both_serve_and_neither_is_starved(
    cluster_apart: RunningCluster, pair: tuple[Served, Served], digits_request: ImageRequest
) -> None:
    left, right = pair
    large, small = digits_request(64), digits_request(1)
    many, one = _labels(left, digits_request, 64), _labels(right, digits_request, 1)
    with load(left, large, many) as flood, load(right, small, one, callers=1) as trickle:
        flood.wait_for(10)
        trickle.wait_for(10)
        flood.wait_for(10)
    with load(left, large, many, callers=4) as ours, load(right, large, many, callers=4) as theirs:
        ours.wait_for(10)
        theirs.wait_for(10)
        before = ours.answered, theirs.answered
        ours.wait_for(30)
        shares = ours.answered - before[0], theirs.answered - before[1]
    assert min(shares) >= max(shares) / 4, shares
    names = {instance.id.rpartition("-")[0] for instance in cluster_apart.view().instances}
    assert {"gateway-1", "left", "right"} <= names


def test_a_killed_gateway_takes_only_its_own_requests_along(
    cluster_apart: RunningCluster, pair: tuple[Served, Served], digits_request: ImageRequest
) -> None:
    left, right = pair
    doomed = right.wait_serving()
    request = digits_request(64)
    expected = _labels(left, digits_request, 64)
    with load(left, request, expected) as lasting:
        with load(right, request, expected, may_fail=True) as dying:
            lasting.wait_for(10)
            dying.wait_for(10)
            right.end(signal.SIGKILL)
        assert dying.failed
        gone = f"dispatcher left dispatcher={doomed}"
        _until(lambda: gone in " ".join(cluster_apart.log("scheduler-1").split()))
        lasting.wait_for(30)
    left.wait_for_view(
        lambda view: (
            all(instance.id != doomed for instance in view.instances)
            and not any(instance.load.outstanding_images for instance in view.instances)
        )
    )


def test_both_go_on_without_a_scheduler(
    cluster_apart: RunningCluster, pair: tuple[Served, Served], digits_request: ImageRequest
) -> None:
    left, right = pair
    request = digits_request(24)
    expected = _labels(left, digits_request, 24)
    with load(left, request, expected) as ours, load(right, request, expected) as theirs:
        ours.wait_for(10)
        theirs.wait_for(10)
        cluster_apart.kill("scheduler-1", signal.SIGSTOP)
        try:
            for each in pair:
                each.wait_for_view(lambda view: "no scheduler leads" in view.missing)
            ours.wait_for(30)
            theirs.wait_for(30)
        finally:
            cluster_apart.kill("scheduler-1", signal.SIGCONT)
        for each in pair:
            each.wait_for_view(lambda view: not view.missing)
        ours.wait_for(10)
        theirs.wait_for(10)


def _labels(gateway: RunningCluster, digits_request: ImageRequest, count: int) -> list[str]:
    response = gateway.recognition.Recognize(digits_request(count), timeout=60)
    return [result.classification.classes[0].label for result in response.results]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
