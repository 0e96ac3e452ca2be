"""What is done to a shard of a running cluster, and undone: each yields while it lasts."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import grpc

from benchmarks.clusters import READY_S, SHARDS, Cluster
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc

VICTIM: Final = "inference-1"
STOPPED_S: Final = 0.075
RUNNING_S: Final = 0.025
"""A slowed shard runs a quarter of the time."""


@contextmanager
def killed(cluster: Cluster) -> Iterator[None]:
    """SIGKILL; over when the launcher's new process serves."""
    dead = {shard for shard in _serving(cluster) if shard.startswith(f"{VICTIM}-")}
    os.kill(cluster.pids[VICTIM], signal.SIGKILL)
    yield
    _wait_whole(cluster, dead)


@contextmanager
def frozen(cluster: Cluster) -> Iterator[None]:
    """SIGSTOP, as long as the block lasts; over when the shard serves again."""
    pid = cluster.pids[VICTIM]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
    _wait_whole(cluster, set())


@contextmanager
def slowed(cluster: Cluster) -> Iterator[None]:
    """Let the shard run a quarter of the time only, as long as the block lasts."""
    pid = cluster.pids[VICTIM]
    over = threading.Event()

    def slow() -> None:
        while not over.is_set():
            os.kill(pid, signal.SIGSTOP)
            over.wait(STOPPED_S)
            os.kill(pid, signal.SIGCONT)
            over.wait(RUNNING_S)

    thread = threading.Thread(target=slow, name="slow")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    _wait_whole(cluster, set())


def _wait_whole(cluster: Cluster, dead: set[str]) -> None:
    """Wait until as many shards serve as there were, without the dead ones."""
    deadline = time.monotonic() + READY_S
    while len(_serving(cluster) - dead) < SHARDS:
        if time.monotonic() > deadline:
            raise RuntimeError("the cluster did not become whole again")
        time.sleep(0.1)


def _serving(cluster: Cluster) -> set[str]:
    """Return the ids of the shards that the gateway sees serving."""
    with grpc.insecure_channel(cluster.gateway) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        response: cluster_pb2.GetClusterResponse = stub.GetCluster(
            cluster_pb2.GetClusterRequest(), timeout=READY_S
        )
    return {
        instance.id
        for instance in response.cluster.instances
        if instance.service == "inference" and instance.state == cluster_pb2.INSTANCE_STATE_SERVING
    }
