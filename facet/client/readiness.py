"""Waiting until a cluster can answer."""

import asyncio
from collections.abc import Callable
from typing import Final

import grpc

from facet.client.connection import domain_error
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.rpc.cancellation import heed_cancellation

RETRY_S: Final = 0.1
_CLOSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def wait_ready(
    channel: grpc.aio.Channel,
    expected_instances: int,
    on_progress: Callable[[list[str], list[str]], None],
) -> None:
    """Return once nothing is missing and so many instances serve; never gives up by itself.

    `on_progress(serving, missing)` gets the ids of the instances that serve, and a sentence for
    each thing that still stands in the way. Raises UnauthenticatedError and ForbiddenError where
    the gateway wants another API key.
    """
    stub = cluster_pb2_grpc.ClusterServiceStub(channel)
    while True:
        try:
            async for response in stub.WatchCluster(cluster_pb2.WatchClusterRequest()):
                serving = [
                    instance.id
                    for instance in response.cluster.instances
                    if instance.state != cluster_pb2.INSTANCE_STATE_UNREACHABLE
                ]
                on_progress(serving, list(response.cluster.missing))
                if not response.cluster.missing and len(serving) >= expected_instances:
                    return
        except grpc.aio.AioRpcError as error:
            heed_cancellation()
            if error.code() in _CLOSED:
                raise domain_error("", error) from None
            on_progress([], ["the gateway does not answer yet"])
        await asyncio.sleep(RETRY_S)
