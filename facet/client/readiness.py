"""Waiting until a cluster can answer."""

from collections.abc import Callable
from contextlib import aclosing

from facet.client.connection import Gateway
from facet.client.watching import watch_cluster
from facet.cluster.v1 import cluster_pb2


async def wait_ready(
    gateway: Gateway,
    expected_instances: int,
    on_progress: Callable[[list[str], list[str]], None],
) -> None:
    """Return once nothing is missing and so many instances serve; never gives up by itself.

    `on_progress(serving, missing)` gets the ids of the instances that serve, and a sentence for
    each thing that still stands in the way. Raises UnauthenticatedError and ForbiddenError where
    the gateway wants another API key, ConfigurationError when its certificates or its key cannot
    be read.
    """
    async with aclosing(watch_cluster(gateway)) as views:
        async for cluster in views:
            if cluster is None:
                on_progress([], ["the gateway does not answer yet"])
                continue
            serving = [
                instance.id
                for instance in cluster.instances
                if instance.state != cluster_pb2.INSTANCE_STATE_UNREACHABLE
            ]
            on_progress(serving, list(cluster.missing))
            if not cluster.missing and len(serving) >= expected_instances:
                return
