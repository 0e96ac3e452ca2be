"""A real cluster for tests that are not coroutines: its supervisor lives on a thread."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import grpc
from google.protobuf import json_format

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from facet.launcher.local_cluster import LocalCluster, run_cluster
from facet.launcher.plan import ClusterPlan
from facet.launcher.supervisor import Death
from facet.recognition.v1 import recognition_pb2_grpc

READY_S = 60.0


class RunningCluster:
    """What tests do with a cluster."""

    def __init__(self, plan: ClusterPlan) -> None:
        self.plan = plan
        self.gateway = ""
        self.deaths: list[Death] = []
        self.cluster: LocalCluster | None = None
        self._channel: grpc.Channel | None = None

    @property
    def channel(self) -> grpc.Channel:
        """A channel to the gateway."""
        if self._channel is None:
            self._channel = grpc.insecure_channel(
                self.gateway, options=[("grpc.max_send_message_length", -1)]
            )
        return self._channel

    @property
    def recognition(self) -> recognition_pb2_grpc.RecognitionServiceStub:
        """The public service."""
        return recognition_pb2_grpc.RecognitionServiceStub(self.channel)

    def view(self) -> cluster_pb2.Cluster:
        """The gateway's view of the cluster."""
        stub = cluster_pb2_grpc.ClusterServiceStub(self.channel)
        response: cluster_pb2.GetClusterResponse = stub.GetCluster(
            cluster_pb2.GetClusterRequest(), timeout=10
        )
        return response.cluster

    def wait_for_view(self, holds: Callable[[cluster_pb2.Cluster], bool]) -> cluster_pb2.Cluster:
        """Return the first view for which it holds; fails after READY_S."""
        stub = cluster_pb2_grpc.ClusterServiceStub(self.channel)
        last: cluster_pb2.Cluster = cluster_pb2.Cluster()
        try:
            for response in stub.WatchCluster(cluster_pb2.WatchClusterRequest(), timeout=READY_S):
                last = response.cluster
                if holds(last):
                    return last
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                raise
        raise AssertionError(f"the view never came: {json_format.MessageToJson(last)}")

    def wait_ready(self) -> cluster_pb2.Cluster:
        """Wait until nothing is missing and every planned instance serves."""
        expected = len(self.plan.processes())

        def ready(view: cluster_pb2.Cluster) -> bool:
            up = [
                instance
                for instance in view.instances
                if instance.state != cluster_pb2.INSTANCE_STATE_UNREACHABLE
            ]
            return not view.missing and len(up) >= expected

        return self.wait_for_view(ready)

    def pid(self, name: str) -> int:
        """The process id of a process, such as inference-1, once it runs."""
        assert self.cluster is not None
        deadline = time.monotonic() + READY_S
        while name not in self.cluster.pids:
            assert time.monotonic() < deadline, f"{name} does not run"
            threading.Event().wait(0.01)
        return self.cluster.pids[name]

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to a process of the cluster."""
        os.kill(self.pid(name), number)

    def log(self, name: str) -> str:
        """What a process wrote."""
        return (self.plan.home / "logs" / f"{name}.log").read_text()

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()


@contextmanager
def run(plan: ClusterPlan) -> Iterator[RunningCluster]:
    """Run a cluster on a thread; ready when it yields, all processes gone afterwards."""
    running = RunningCluster(plan)
    ready, stop = threading.Event(), threading.Event()
    failure: list[BaseException] = []

    async def serve() -> None:
        async with run_cluster(plan, running.deaths.append) as cluster:
            running.cluster = cluster
            async with asyncio.timeout(READY_S):
                running.gateway = await cluster.ready(lambda serving, missing: None)
            ready.set()
            await asyncio.to_thread(stop.wait)

    def main() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=main, name="cluster")
    thread.start()
    try:
        ready.wait()
        if failure:
            raise failure[0]
        yield running
    finally:
        running.close()
        stop.set()
        thread.join()
    if failure:
        raise failure[0]
