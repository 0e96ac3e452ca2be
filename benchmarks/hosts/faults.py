"""What befalls the network of a cluster: each yields while it lasts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import MappingProxyType
from typing import Final, TypeAlias

from benchmarks.hosts.cluster import DOOR, REGISTRY, HostCluster

Fault: TypeAlias = Callable[[HostCluster], AbstractContextManager[None]]

SLOW_RATE: Final = "10mbit"
SLOW_DELAY_S: Final = 0.025
"""Each way: 50 ms there and back."""


def cut_off(cluster: HostCluster) -> AbstractContextManager[None]:
    """Cut off a host with a shard that does not lead."""
    return cluster.hosts[_follower(cluster)].cut_off()


def leader_cut_off(cluster: HostCluster) -> AbstractContextManager[None]:
    """Cut off the host of the scheduler that leads, and of a shard."""
    (leader,) = cluster.serving(cluster.wait_whole(), "scheduler")
    return cluster.hosts[leader].cut_off()


@contextmanager
def slow(cluster: HostCluster) -> Iterator[None]:
    """Make the link to a host with a shard slow: narrow and long."""
    host = cluster.hosts[_follower(cluster)]
    with host.rate(SLOW_RATE), host.wire(delay_s=SLOW_DELAY_S):
        yield


def lossy(share: float) -> Fault:
    """Let the link to a host with a shard lose a share of its packets, each way."""
    return lambda cluster: cluster.hosts[_follower(cluster)].wire(loss=share)


def without_consul(cluster: HostCluster) -> AbstractContextManager[None]:
    """Cut the link between the gateway's host and Consul's server."""
    return cluster.hosts[DOOR].parted_from(cluster.hosts[REGISTRY])


def _follower(cluster: HostCluster) -> str:
    view = cluster.wait_whole()
    (follower,) = cluster.serving(view, "inference") - cluster.serving(view, "scheduler")
    return follower


FAULTS: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "host cut off": cut_off,
        "slow link": slow,
        "2 % of packets lost": lossy(0.02),
        "10 % of packets lost": lossy(0.1),
        "Consul cut off": without_consul,
        "leader cut off": leader_cut_off,
    }
)
