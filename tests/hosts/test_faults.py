"""A cluster on three hosts loses nothing when their network fails, and recovers when it does not.

The fixture `load` asserts it: each request is answered inside its deadline, and rightly.
"""

import pytest

from benchmarks.hosts.cluster import DOOR, REGISTRY, HostCluster
from facet.cluster.v1 import cluster_pb2
from services.common.shared_memory import MEMORY_KEY
from tests.hosts.witness import Witness

SHARDS = ("beta", "gamma")


def test_hosts_share_no_memory_and_the_processes_of_one_do(hosts: HostCluster) -> None:
    keys: dict[str, set[str]] = {}
    for service in ("gateway", "preprocessing", "inference"):
        for entry in hosts.consul.get(f"/v1/health/service/facet-{service}"):
            keys.setdefault(entry["Node"]["Node"], set()).add(entry["Service"]["Meta"][MEMORY_KEY])
    assert set(keys) == {DOOR, *SHARDS}
    assert all(len(of_one) == 1 for of_one in keys.values())
    assert len(set().union(*keys.values())) == len(keys)


def test_a_host_is_cut_off_and_comes_back(hosts: HostCluster, load: Witness) -> None:
    load.wait_for_shards_of(*SHARDS)
    with hosts.hosts["beta"].cut_off():
        hosts.wait_for(lambda view: hosts.serving(view, "inference") == {"gamma"})
        load.wait_for(20)
    hosts.wait_whole()
    load.wait_for_shards_of(*SHARDS)


def test_a_link_is_slow(hosts: HostCluster, load: Witness) -> None:
    load.wait_for_shards_of(*SHARDS)
    with hosts.hosts["gamma"].rate("10mbit"), hosts.hosts["gamma"].wire(delay_s=0.025):
        load.wait_for(40)
    load.wait_for_shards_of(*SHARDS)


@pytest.mark.parametrize("loss", [0.02, 0.1])
def test_a_link_loses_packets(hosts: HostCluster, load: Witness, loss: float) -> None:
    load.wait_for_shards_of(*SHARDS)
    with hosts.hosts["gamma"].wire(loss=loss):
        load.wait_for(40)
    load.wait_for_shards_of(*SHARDS)


def test_the_host_of_the_gateway_loses_consul(hosts: HostCluster, load: Witness) -> None:
    with hosts.hosts[DOOR].parted_from(hosts.hosts[REGISTRY]):
        view = hosts.wait_for(lambda view: not view.registry_reachable)
        assert hosts.serving(view, "inference") == set(SHARDS)
        load.wait_for_shards_of(*SHARDS)
    hosts.wait_for(lambda view: view.registry_reachable)


def test_the_host_of_the_leading_scheduler_is_cut_off(hosts: HostCluster, load: Witness) -> None:
    (leader,) = hosts.serving(hosts.wait_whole(), "scheduler")
    (standby,) = {*SHARDS} - {leader}

    def took_over(view: cluster_pb2.Cluster) -> bool:
        return not view.missing and hosts.serving(view, "scheduler") == {standby}

    load.wait_for(10)
    with hosts.hosts[leader].cut_off():
        hosts.wait_for(took_over)
        load.wait_for(20)
    hosts.wait_whole()
    load.wait_for_shards_of(*SHARDS)
