"""Several gateways at one port: what one of them goes through, clients do not notice."""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death
from tests.cluster.commands import facet, facet_here, says
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import Ask, asking_anew, kept_connections, load
from tests.cluster.running import RunningCluster, run
from tests.socket_filters import socket_filters  # noqa: F401

GATEWAYS = ("gateway-1", "gateway-2")


@pytest.fixture(scope="module")
def two_gateways(make_plan: Callable[..., ClusterPlan]) -> Iterator[RunningCluster]:
    """A cluster whose gateways share a port."""
    with run(make_plan(instances={"inference": 1, "gateway": 2})) as running:
        yield running


@pytest.fixture
def deaths(two_gateways: RunningCluster) -> list[Death]:
    """The deaths of this test."""
    two_gateways.wait_ready()
    two_gateways.deaths.clear()
    return two_gateways.deaths


@contextmanager
def at(plan: ClusterPlan, address: str) -> Iterator[RunningCluster]:
    """The cluster as one gateway shows it."""
    seen = RunningCluster(plan)
    seen.gateway = address
    try:
        yield seen
    finally:
        seen.close()


def addresses(cluster: RunningCluster) -> dict[str, str]:
    """Name → own address of each gateway."""
    return {
        instance.id.rpartition("-")[0]: instance.address
        for instance in cluster.wait_ready().instances
        if instance.service == "gateway"
    }


def clients_of(cluster: RunningCluster, name: str) -> int:
    """How many connections at the shared port a gateway has."""
    port = int(cluster.gateway.rpartition(":")[2])
    connections = psutil.Process(cluster.pid(name)).net_connections("tcp")
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in connections
    )


def test_each_is_an_instance_with_an_address_of_its_own(two_gateways: RunningCluster) -> None:
    own = addresses(two_gateways)
    assert set(own) == set(GATEWAYS)
    assert len({*own.values(), two_gateways.gateway}) == 3
    for address in own.values():
        with grpc.insecure_channel(address) as channel:
            health: Any = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_the_kernel_shares_out_clients(
    two_gateways: RunningCluster, digits_request: ImageRequest
) -> None:
    two_gateways.wait_ready()
    with ExitStack() as open_connections:
        for _ in range(8):
            ask = open_connections.enter_context(
                kept_connections(two_gateways.gateway, retries=False)
            )
            for _ in range(8):
                ask(digits_request())
        assert all(clients_of(two_gateways, name) for name in GATEWAYS)


def test_status_and_wait_know_both(two_gateways: RunningCluster) -> None:
    own = addresses(two_gateways)
    shown = json.loads(facet_here("status", "--json", "--gateway", two_gateways.gateway).stdout)
    gateways = [each for each in shown["instances"] if each["service"] == "gateway"]
    assert {each["address"] for each in gateways} == set(own.values())
    assert facet_here("wait", "--gateway", two_gateways.gateway).returncode == 0


@contextmanager
def _clients(cluster: RunningCluster, kind: str, *, retries: bool) -> Iterator[Ask]:
    if kind == "new":
        yield asking_anew(cluster.gateway, retries=retries)
    else:
        with kept_connections(cluster.gateway, retries=retries) as ask:
            yield ask


@pytest.mark.usefixtures("socket_filters")
@pytest.mark.parametrize("connections", ["new", "kept"])
def test_a_drained_gateway_loses_nothing(
    two_gateways: RunningCluster,
    deaths: list[Death],
    digits_request: ImageRequest,
    connections: str,
) -> None:
    expected = _labels(two_gateways, digits_request)
    with (
        _clients(two_gateways, connections, retries=False) as ask,
        load(two_gateways, digits_request(4), expected, ask=ask) as running,
    ):
        for name in GATEWAYS:
            running.wait_for(40)
            _end_and_come_back(two_gateways, name, signal.SIGTERM)
            running.wait_for(40)
    assert [death.name for death in deaths] == [*GATEWAYS]
    assert all(death.reason.startswith("exit code 0") for death in deaths)


@pytest.mark.parametrize("connections", ["new", "kept"])
def test_clients_that_try_again_lose_nothing_to_a_killed_gateway(
    two_gateways: RunningCluster,
    deaths: list[Death],
    digits_request: ImageRequest,
    connections: str,
) -> None:
    expected = _labels(two_gateways, digits_request)
    with (
        _clients(two_gateways, connections, retries=True) as ask,
        load(two_gateways, digits_request(4), expected, ask=ask) as running,
    ):
        for name in GATEWAYS:
            running.wait_for(40)
            _end_and_come_back(two_gateways, name, signal.SIGKILL)
            running.wait_for(40)
    assert [death.name for death in deaths] == [*GATEWAYS]


def test_the_port_is_refused_to_another_cluster(
    two_gateways: RunningCluster, tmp_path: Path
) -> None:
    port = two_gateways.gateway.rpartition(":")[2]
    for gateways in ("1", "2"):
        home = str(tmp_path / gateways)
        taken = facet("up", "--home", home, "--port", port, "--gateways", gateways)
        assert taken.returncode == 1
        assert says(taken, f"cannot listen on 127.0.0.1:{port}; is the port in use?")


def _labels(cluster: RunningCluster, digits_request: ImageRequest) -> list[str]:
    response = asking_anew(cluster.gateway, retries=True)(digits_request(4))
    return [result.classification.classes[0].label for result in response.results]


def _end_and_come_back(cluster: RunningCluster, name: str, number: signal.Signals) -> None:
    """End a gateway; return when the other one has missed it, and sees its successor."""
    own = addresses(cluster)
    (other,) = (address for each, address in own.items() if each != name)
    with at(cluster.plan, other) as seen:
        cluster.kill(name, number)

        def incomplete(view: cluster_pb2.Cluster) -> bool:
            return "1 of 2 gateways serve" in view.missing

        seen.wait_for_view(incomplete)
        seen.wait_ready()
