"""Every process of a cluster is replaced by one of the next version, under load: nothing is lost.

In the order of docs/upgrades.md. Until the end both versions talk to each other.
"""

import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import grpc
import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import MODULES, ClusterPlan, ProcessPlan
from facet.recognition.v1 import recognition_pb2
from services.common.shared_port import hold_port
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import Load, kept_connections, load
from tests.cluster.next_version import UNKNOWN_FIELD
from tests.cluster.running import READY_S, RunningCluster

CALLERS = 2
"""Enough that some request is always in hand, and room is left to start processes in."""
TWICE = {"inference": 2, "scheduler": 2, "gateway": 2}
UP = (cluster_pb2.INSTANCE_STATE_SERVING, cluster_pb2.INSTANCE_STATE_STANDBY)


class Upgradable(RunningCluster):
    """A cluster whose processes nobody starts again: they are replaced here."""

    def __init__(self, plan: ClusterPlan) -> None:
        super().__init__(plan)
        self.gateway = plan.public_address
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (plan.home / "logs").mkdir()

    def start(self, plan: ProcessPlan) -> None:
        """Start a process."""
        with (self.plan.home / "logs" / f"{plan.name}.log").open("wb") as log:
            self.processes[plan.name] = subprocess.Popen(
                plan.command, env=plan.environment, stdout=log, stderr=log
            )

    def start_next(self, plan: ProcessPlan) -> None:
        """Start a process of the next version in the place of one; it serves or stands by."""
        name = next_name(plan.name)
        module = MODULES[plan.service]
        command = (plan.command[0], "-m", "tests.cluster.next_version", module)
        environment = {**plan.environment, "FACET_NAME": name}
        self.start(replace(plan, name=name, command=command, environment=environment))
        self.wait_for_view(lambda view: names(view).get(name) in UP)

    def end(self, plan: ProcessPlan) -> None:
        """End a process in order; gone from the view when it returns."""
        process = self.processes.pop(plan.name)
        process.send_signal(signal.SIGTERM)
        assert process.wait(READY_S) == 0, self.log(plan.name)
        self.wait_for_view(lambda view: plan.name not in names(view))

    def close(self) -> None:
        """Let nothing remain."""
        super().close()
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()


def next_name(name: str) -> str:
    """Return what the successor of a process is called."""
    return f"next-{name}"


def names(view: cluster_pb2.Cluster) -> Mapping[str, int]:
    """Return the names of all processes and their states."""
    return {instance.id.rpartition("-")[0]: instance.state for instance in view.instances}


@contextmanager
def running(plan: ClusterPlan) -> Iterator[Upgradable]:
    """Run a cluster, and end all that was started in it."""
    with hold_port(plan.host, 0) as port:
        cluster = Upgradable(replace(plan, port=port))
        try:
            for each in cluster.plan.processes():
                cluster.start(each)
            grpc.channel_ready_future(cluster.channel).result(READY_S)
            cluster.wait_ready()
            yield cluster
        finally:
            cluster.close()


@pytest.fixture
def upgradable(make_plan: Callable[..., ClusterPlan]) -> Iterator[Upgradable]:
    """A cluster of this version, with two of what there may not be none of for a moment."""
    with running(make_plan(instances=TWICE)) as cluster:
        yield cluster


def test_every_process_is_replaced_and_nothing_is_lost(
    upgradable: Upgradable, digits_request: ImageRequest
) -> None:
    request = digits_request(12)
    expected = _labels(upgradable.recognition.Recognize(request, timeout=60))
    of = {each: [p for p in upgradable.plan.processes() if p.service == each] for each in MODULES}
    with (
        kept_connections(upgradable.gateway, retries=True) as ask,
        load(upgradable, request, expected, ask=ask, callers=CALLERS) as asking,
    ):
        asking.wait_for(10)
        for service in ("aggregation", "preprocessing"):
            _surge(upgradable, asking, of[service])
        for shard in of["inference"]:  # a GPU has no room for two
            upgradable.end(shard)
            upgradable.start_next(shard)
            asking.wait_for(10)
        _surge(upgradable, asking, _standby_first(upgradable, of["scheduler"]))
        _surge(upgradable, asking, of["gateway"])
    assert set(names(upgradable.wait_ready())) == {
        next_name(plan.name) for plan in upgradable.plan.processes()
    }
    assert _raw_answer(upgradable, digits_request(1)).endswith(UNKNOWN_FIELD)


def _surge(cluster: Upgradable, asking: Load, plans: list[ProcessPlan]) -> None:
    """Replace each by one that serves before it ends."""
    for plan in plans:
        cluster.start_next(plan)
        cluster.end(plan)
        asking.wait_for(10)


def _standby_first(cluster: Upgradable, plans: list[ProcessPlan]) -> list[ProcessPlan]:
    states = names(cluster.view())
    standby, leader = sorted(
        plans, key=lambda plan: states[plan.name], reverse=True
    )  # STANDBY is above SERVING
    assert states[standby.name] == cluster_pb2.INSTANCE_STATE_STANDBY
    assert states[leader.name] == cluster_pb2.INSTANCE_STATE_SERVING
    return [standby, leader]


def _labels(response: recognition_pb2.RecognizeResponse) -> list[str]:
    return [result.classification.classes[0].label for result in response.results]


def _raw_answer(cluster: Upgradable, request: recognition_pb2.RecognizeRequest) -> bytes:
    call: Callable[..., bytes] = cluster.channel.unary_unary(
        "/facet.recognition.v1.RecognitionService/Recognize"
    )
    return call(request.SerializeToString(), timeout=60)
