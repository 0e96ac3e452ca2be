"""Following a cluster through whatever happens to the gateway that shows it."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import grpc

from facet.client.connection import Gateway, connect, domain_error, domain_errors
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.rpc.cancellation import heed_cancellation

RETRY_S: Final = 0.1
TIMEOUT_S: Final = 10.0
_CLOSED: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


async def get_cluster(gateway: Gateway) -> cluster_pb2.Cluster:
    """Return the cluster at this moment.

    Raises UnavailableError (UNREACHABLE) when no gateway answers.
    """
    async with connect(gateway) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        with domain_errors(gateway):
            response: cluster_pb2.GetClusterResponse = await stub.GetCluster(
                cluster_pb2.GetClusterRequest(), timeout=TIMEOUT_S
            )
    return response.cluster


async def watch_cluster(gateway: Gateway) -> AsyncGenerator[cluster_pb2.Cluster | None, None]:
    """Yield the cluster whenever it changes, and None where the gateway does not answer.

    Never ends by itself. Raises UnauthenticatedError and ForbiddenError where the gateway wants
    another API key, ConfigurationError when its certificates or its key cannot be read.
    """
    async with connect(gateway) as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        while True:
            try:
                async for response in stub.WatchCluster(cluster_pb2.WatchClusterRequest()):
                    yield response.cluster
            except grpc.aio.AioRpcError as error:
                heed_cancellation()
                if error.code() in _CLOSED:
                    raise domain_error(gateway, error) from None
                yield None
            await asyncio.sleep(RETRY_S)
