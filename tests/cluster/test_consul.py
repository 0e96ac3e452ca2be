"""The same cluster on a real Consul: seen there, and not troubled when Consul is."""

import json
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import load
from tests.cluster.running import RunningCluster, run
from tests.fixtures_consul import ConsulServer

INSTANCES = {
    "facet-gateway": 1,
    "facet-preprocessing": 1,
    "facet-scheduler": 2,
    "facet-inference": 2,
    "facet-aggregation": 1,
}


@pytest.fixture(scope="module")
def consul(consul_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsulServer]:
    """A Consul for this module, which it may stop and start."""
    server = ConsulServer(consul_binary, tmp_path_factory.mktemp("consul"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def on_consul(
    consul: ConsulServer, make_plan: Callable[..., ClusterPlan]
) -> Iterator[RunningCluster]:
    """A cluster that registers there, with a standby scheduler."""
    settings = {"FACET_REGISTRY": f"consul://{consul.address}"}
    plan = make_plan(settings=settings, instances={"inference": 2, "scheduler": 2})
    with run(plan) as running:
        yield running


def _consul(server: ConsulServer, path: str) -> Any:
    with urllib.request.urlopen(f"http://{server.address}{path}", timeout=10) as answer:
        return json.load(answer)


def _labels(cluster: RunningCluster, digits_request: ImageRequest) -> list[str]:
    response = cluster.recognition.Recognize(digits_request(24), timeout=60)
    return [result.classification.classes[0].label for result in response.results]


def test_consul_shows_every_instance_and_its_health(
    on_consul: RunningCluster, consul: ConsulServer, consul_binary: Path
) -> None:
    listed = subprocess.run(
        [consul_binary, "catalog", "services", f"-http-addr={consul.address}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(listed.stdout.split()) >= {"consul", *INSTANCES}
    on_consul.wait_ready()
    for service, count in INSTANCES.items():
        entries = _consul(consul, f"/v1/health/service/{service}?passing")
        assert len(entries) == count
        checks = [check for entry in entries for check in entry["Checks"]]
        assert {check["Type"] for check in checks if check["ServiceName"]} == {"grpc"}


def test_one_scheduler_leads_and_the_other_takes_over(
    on_consul: RunningCluster, digits_request: ImageRequest
) -> None:
    def states(view: cluster_pb2.Cluster) -> dict[str, int]:
        return {i.id: i.state for i in view.instances if i.service == "scheduler"}

    before = states(on_consul.wait_ready())
    assert Counter(before.values()) == {
        cluster_pb2.INSTANCE_STATE_SERVING: 1,
        cluster_pb2.INSTANCE_STATE_STANDBY: 1,
    }
    leader = next(i for i in before if before[i] == cluster_pb2.INSTANCE_STATE_SERVING)
    expected = _labels(on_consul, digits_request)
    with load(on_consul, digits_request(24), expected) as running:
        running.wait_for(20)
        on_consul.kill(leader.rpartition("-")[0])
        on_consul.wait_for_view(
            lambda view: (
                cluster_pb2.INSTANCE_STATE_SERVING
                in {state for name, state in states(view).items() if name != leader}
            )
        )
        running.wait_for(20)
    on_consul.wait_ready()


def test_consul_goes_down_while_the_cluster_serves(
    on_consul: RunningCluster, consul: ConsulServer, digits_request: ImageRequest
) -> None:
    on_consul.wait_ready()
    expected = _labels(on_consul, digits_request)
    with load(on_consul, digits_request(24), expected) as running:
        running.wait_for(20)
        consul.kill()
        view = on_consul.wait_for_view(lambda view: not view.registry_reachable)
        assert len(view.instances) == sum(INSTANCES.values())
        running.wait_for(50)
        consul.start()
        on_consul.wait_for_view(lambda view: view.registry_reachable)
        running.wait_for(20)
    on_consul.wait_ready()
    assert "registry unreachable" in on_consul.log("gateway-1")
    for service, count in INSTANCES.items():
        passing = _consul(consul, f"/v1/health/service/{service}?passing")
        assert len(passing) == count, service


def test_a_stopped_cluster_leaves_consul_empty(
    consul_server: ConsulServer, make_plan: Callable[..., ClusterPlan]
) -> None:
    settings = {"FACET_REGISTRY": f"consul://{consul_server.address}"}
    with run(make_plan(settings=settings)):
        assert set(_consul(consul_server, "/v1/catalog/services")) >= {"consul", *INSTANCES}
    assert set(_consul(consul_server, "/v1/catalog/services")) == {"consul"}
