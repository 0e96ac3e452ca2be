"""facet.cluster.v1: the cluster view for people and tools."""

import asyncio
from typing import Final

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from gateway.cluster_view import ClusterView
from services.common.errors import DrainingError
from services.common.rpc.context import ServicerContext, abort

PERIOD_S: Final = 0.1
MOVES_S: Final = 1.0
"""How often rates that move are shown though nothing else changes."""


class ClusterServicer(cluster_pb2_grpc.ClusterServiceServicer):
    """Shows the view once, or follows it."""

    def __init__(self, view: ClusterView, draining: asyncio.Event) -> None:
        self._view = view
        self._draining = draining

    async def GetCluster(
        self, request: cluster_pb2.GetClusterRequest, context: ServicerContext
    ) -> cluster_pb2.GetClusterResponse:
        """Return the view at this moment."""
        return cluster_pb2.GetClusterResponse(cluster=self._view.message())

    async def WatchCluster(
        self, request: cluster_pb2.WatchClusterRequest, context: ServicerContext
    ) -> None:
        """Write the view now and after every change."""
        draining = asyncio.create_task(self._draining.wait())
        try:
            while not draining.done():
                changed = asyncio.create_task(self._view.changed.wait())
                try:
                    response = cluster_pb2.WatchClusterResponse(cluster=self._view.message())
                    await context.write(response)
                    await asyncio.sleep(PERIOD_S)  # coalesces what changes meanwhile
                    await asyncio.wait(
                        {changed, draining},
                        timeout=MOVES_S if self._view.moves else None,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    changed.cancel()
        finally:
            draining.cancel()
        await abort(context, DrainingError("the gateway is shutting down"))
