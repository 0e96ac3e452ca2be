"""What is killed loses nothing: every accepted request is still answered."""

import signal

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.supervisor import Death
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import load
from tests.cluster.running import RunningCluster


@pytest.fixture
def deaths(own_cluster: RunningCluster) -> list[Death]:
    """The deaths of this test."""
    own_cluster.wait_ready()
    own_cluster.deaths.clear()
    return own_cluster.deaths


def _expected(cluster: RunningCluster, digits_request: ImageRequest, images: int) -> list[str]:
    response = cluster.recognition.Recognize(digits_request(images), timeout=60)
    return [result.classification.classes[0].label for result in response.results]


@pytest.mark.parametrize("service", ["inference", "preprocessing", "aggregation", "scheduler"])
def test_a_killed_process_loses_nothing(
    own_cluster: RunningCluster, deaths: list[Death], digits_request: ImageRequest, service: str
) -> None:
    expected = _expected(own_cluster, digits_request, 24)
    with load(own_cluster, digits_request(24), expected) as running:
        for _ in range(2):
            running.wait_for(20)
            own_cluster.kill(f"{service}-1")
            running.wait_for(20)
            own_cluster.wait_ready()
    assert {death.name for death in deaths} == {f"{service}-1"}
    assert {death.reason for death in deaths} == {"killed by SIGKILL"}


def test_the_only_instances_killed_together_lose_nothing(
    own_cluster: RunningCluster, deaths: list[Death], digits_request: ImageRequest
) -> None:
    expected = _expected(own_cluster, digits_request, 24)
    with load(own_cluster, digits_request(24), expected) as running:
        running.wait_for(20)
        for name in ("inference-1", "inference-2", "aggregation-1", "aggregation-2"):
            own_cluster.kill(name)
        running.wait_for(20)
        own_cluster.wait_ready()


def test_a_terminated_shard_hands_its_work_back(
    own_cluster: RunningCluster, deaths: list[Death], digits_request: ImageRequest
) -> None:
    expected = _expected(own_cluster, digits_request, 24)
    with load(own_cluster, digits_request(24), expected) as running:
        running.wait_for(20)
        own_cluster.kill("inference-1", signal.SIGTERM)
        running.wait_for(20)
        own_cluster.wait_ready()
    (death,) = deaths
    assert death.reason.startswith("exit code 0")


def test_a_frozen_shard_is_gone_round(
    own_cluster: RunningCluster, deaths: list[Death], digits_request: ImageRequest
) -> None:
    expected = _expected(own_cluster, digits_request, 24)
    with load(own_cluster, digits_request(24), expected) as running:
        running.wait_for(20)
        own_cluster.kill("inference-1", signal.SIGSTOP)
        try:
            own_cluster.wait_for_view(
                lambda view: any(
                    instance.state == cluster_pb2.INSTANCE_STATE_UNREACHABLE
                    for instance in view.instances
                )
            )
            running.wait_for(20)
        finally:
            own_cluster.kill("inference-1", signal.SIGCONT)
        own_cluster.wait_ready()
        running.wait_for(20)
    assert not deaths


def test_without_a_load_the_shard_that_died_is_replaced(
    own_cluster: RunningCluster, deaths: list[Death]
) -> None:
    before = {instance.id for instance in own_cluster.view().instances}
    own_cluster.kill("inference-2")

    def replaced(view: cluster_pb2.Cluster) -> bool:
        shards = {i.id for i in view.instances if i.service == "inference"}
        return len(shards) == 2 and not shards <= before

    own_cluster.wait_for_view(replaced)
    assert [death.name for death in deaths] == ["inference-2"]


def test_a_frozen_scheduler_is_done_without(
    own_cluster: RunningCluster, deaths: list[Death], digits_request: ImageRequest
) -> None:
    expected = _expected(own_cluster, digits_request, 24)
    with load(own_cluster, digits_request(24), expected) as running:
        running.wait_for(20)
        own_cluster.kill("scheduler-1", signal.SIGSTOP)
        try:
            own_cluster.wait_for_view(lambda view: "no scheduler leads" in view.missing)
            running.wait_for(50)
        finally:
            own_cluster.kill("scheduler-1", signal.SIGCONT)
        own_cluster.wait_ready()
        running.wait_for(20)
    assert not deaths
