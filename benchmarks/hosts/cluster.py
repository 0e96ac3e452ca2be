"""Facet on four hosts: three that serve, and one for Consul's server."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from benchmarks.hosts.consul import HTTP_PORT, Consul, start_consul
from benchmarks.hosts.network import Host, network
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from facet.launcher.plan import MALLOC_ENVIRONMENT

DOOR: Final = "alpha"
"""The host of the gateway. No scheduler is there: the one that leads can be cut off alone."""
LAYOUT: Final[Mapping[str, tuple[str, ...]]] = {
    DOOR: ("preprocessing", "aggregation", "gateway"),
    "gamma": ("scheduler", "inference"),
    "beta": ("scheduler", "preprocessing", "aggregation", "inference"),
}
"""Host → its services, in the order of the start: the scheduler of the first leads first."""
REGISTRY: Final = "delta"
GATEWAY_PORT: Final = 50051
READY_S: Final = 60.0

CHANNEL_OPTIONS: Final = (
    # The environment's proxies know nothing of these hosts.
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_send_message_length", -1),
)


@dataclass(frozen=True, slots=True)
class HostCluster:
    """A cluster that is ready."""

    hosts: Mapping[str, Host]
    consul: Consul
    folder: Path
    """Of logs, such as beta-inference.log."""

    @property
    def gateway(self) -> str:
        """host:port"""
        return f"{self.hosts[DOOR].address}:{GATEWAY_PORT}"

    def host_of(self, instance: cluster_pb2.Instance) -> str:
        """Return the name of the host that an instance runs on."""
        address = instance.address.rpartition(":")[0]
        return next(name for name, host in self.hosts.items() if host.address == address)

    def serving(self, view: cluster_pb2.Cluster, service: str) -> set[str]:
        """Return the hosts on which the gateway can use a service; a standby does not count."""
        return {
            self.host_of(instance)
            for instance in view.instances
            if instance.service == service and instance.state == cluster_pb2.INSTANCE_STATE_SERVING
        }

    def wait_for(self, holds: Callable[[cluster_pb2.Cluster], bool]) -> cluster_pb2.Cluster:
        """Return the gateway's first view for which it holds; RuntimeError after READY_S."""
        last: cluster_pb2.Cluster = cluster_pb2.Cluster()
        with grpc.insecure_channel(self.gateway, options=CHANNEL_OPTIONS) as channel:
            stub = cluster_pb2_grpc.ClusterServiceStub(channel)
            views = stub.WatchCluster(
                cluster_pb2.WatchClusterRequest(), timeout=READY_S, wait_for_ready=True
            )
            try:
                for response in views:
                    last = response.cluster
                    if holds(last):
                        return last
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    raise
        raise RuntimeError(f"the view never came; the last one was: {last}")

    def wait_whole(self) -> cluster_pb2.Cluster:
        """Wait until every service of the layout serves, or stands by, on each of its hosts."""

        def whole(view: cluster_pb2.Cluster) -> bool:
            up = {
                (self.host_of(instance), instance.service)
                for instance in view.instances
                if instance.state != cluster_pb2.INSTANCE_STATE_UNREACHABLE
            }
            return not view.missing and up == {
                (host, service) for host, services in LAYOUT.items() for service in services
            }

        return self.wait_for(whole)

    def log(self, host: str, service: str) -> str:
        """Return what a process wrote."""
        return (self.folder / f"{host}-{service}.log").read_text(errors="replace")


@contextmanager
def host_cluster(consul_binary: Path, models: Path) -> Iterator[HostCluster]:
    """Run a cluster on hosts of its own; whole when it yields, nothing is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="facet-hosts-") as folder, network() as net:
        hosts = {name: net.host(name) for name in LAYOUT}
        registry = net.host(REGISTRY)
        consul = start_consul(consul_binary, registry, hosts, Path(folder))
        cluster = HostCluster({**hosts, REGISTRY: registry}, consul, Path(folder))
        for name, services in LAYOUT.items():
            for service in services:
                _serve(hosts[name], service, models, Path(folder))
        cluster.wait_whole()
        yield cluster


def _serve(host: Host, service: str, models: Path, folder: Path) -> None:
    settings = {
        "FACET_REGISTRY": f"consul://127.0.0.1:{HTTP_PORT}",
        "FACET_HOST": "0.0.0.0",
        "FACET_ADVERTISE_HOST": host.address,
        # What travels between these hosts never leaves the machine.
        "FACET_INSECURE": "true",
        "FACET_NAME": f"{service}-{host.name}",
        "FACET_MODELS": str(models),
        "FACET_HOME": str(folder / host.name),
    }
    with (folder / f"{host.name}-{service}.log").open("wb") as log:
        host.start(
            [str(Path(sys.executable).with_name("facet")), "serve", service],
            {**MALLOC_ENVIRONMENT, **os.environ, **settings},
            log,
        )
