"""A small real service in a process of its own; it says what it does and does what it is told.

    python -m tests.common.some_service [slow|refused]

The word "start" lets a slow one get ready, "finish" answers the calls in hand, "die" kills a
part of it. A refused one finds while it starts that it can never run.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.errors import ConfigurationError, InternalError
from services.common.process import Context, Service, Servicer, run_service
from services.common.rpc.context import ServicerContext
from services.common.settings import ServiceSettings

NAME = "facet.cluster.v1.ClusterService"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class SomeService(Service, cluster_pb2_grpc.ClusterServiceServicer):
    """Serves GetCluster."""

    def __init__(self, settings: ServiceSettings, context: Context) -> None:
        self._words = {word: asyncio.Event() for word in ("start", "finish", "die")}
        self.servicers = (
            Servicer(NAME, cluster_pb2_grpc.add_ClusterServiceServicer_to_server, self),
        )

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Get ready, when told to."""
        if "refused" in sys.argv:
            raise ConfigurationError("this machine has no compound eye")
        background(self._listen())
        background(self._die())
        _say("starting")
        if "slow" in sys.argv:
            await self._words["start"].wait()

    async def drain(self) -> None:
        """See Service."""
        _say("draining")

    async def close(self) -> None:
        """See Service."""
        _say("closed")

    async def GetCluster(
        self, request: cluster_pb2.GetClusterRequest, context: ServicerContext
    ) -> cluster_pb2.GetClusterResponse:
        """Answer when told to."""
        _say("in hand")
        await self._words["finish"].wait()
        return cluster_pb2.GetClusterResponse()

    async def _listen(self) -> None:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while word := (await reader.readline()).decode().strip():
            self._words[word].set()

    async def _die(self) -> None:
        await self._words["die"].wait()
        raise InternalError("a part of it died")


if __name__ == "__main__":
    run_service("some", ServiceSettings, SomeService)
