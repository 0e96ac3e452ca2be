"""A whole cluster inside the test's own process, and what a client sends to it."""

import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from PIL import Image

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from gateway.__main__ import Gateway
from gateway.settings import GatewaySettings
from services.aggregation.__main__ import Aggregation
from services.common.models.repository import ModelRepository
from services.common.settings import ServiceSettings
from services.preprocessing.__main__ import Preprocessing
from services.preprocessing.settings import PreprocessingSettings
from services.scheduler.__main__ import SchedulerService
from services.scheduler.core import Scheduler as Core
from tests.fakes import MemoryRegistry
from tests.in_process import RunningService, RunningShard, running_service, running_shard
from tests.inference.models import MODEL
from tests.models.contents import SPEC
from tests.waiting import PATIENCE_S, until


class Whole(AsyncExitStack):
    """All services, started one by one."""

    def __init__(self, repository: ModelRepository) -> None:
        super().__init__()
        self.repository = repository
        self.registry = MemoryRegistry()
        self.core = Core("unused")
        """What the scheduler knows."""

    async def shard(
        self, name: str = "s", piece_images: int = 4, *, held: bool = False
    ) -> RunningShard:
        """Start a shard."""
        return await self.enter_async_context(
            running_shard(
                self.repository, self.registry, name, held=held, piece_images=piece_images
            )
        )

    async def others(self) -> None:
        """Start one of each service between gateway and shards."""
        common = ServiceSettings(port=0)
        scheduler = await self.enter_async_context(
            running_service("scheduler", SchedulerService, common, self.registry)
        )
        assert isinstance(scheduler.service, SchedulerService)
        self.core = scheduler.service.core
        await self.enter_async_context(
            running_service("aggregation", Aggregation, common, self.registry)
        )
        settings = PreprocessingSettings(port=0, threads=1)
        await self.enter_async_context(
            running_service("preprocessing", Preprocessing, settings, self.registry)
        )

    async def gateway(self, **options: Any) -> "Client":
        """Start a gateway and connect to it."""
        settings = GatewaySettings(**{"port": 0, **options})
        running = await self.enter_async_context(
            running_service("gateway", Gateway, settings, self.registry)
        )
        channel = grpc.aio.insecure_channel(running.instance.address)
        return Client(running, await self.enter_async_context(channel))


class Client:
    """What a client has of a gateway."""

    def __init__(self, gateway: RunningService, channel: grpc.aio.Channel) -> None:
        self.gateway = gateway
        self.recognition = recognition_pb2_grpc.RecognitionServiceStub(channel)
        self.cluster = cluster_pb2_grpc.ClusterServiceStub(channel)

    async def recognize(
        self, request: recognition_pb2.RecognizeRequest, timeout: float | None = PATIENCE_S
    ) -> recognition_pb2.RecognizeResponse:
        """Call Recognize."""
        response: recognition_pb2.RecognizeResponse = await self.recognition.Recognize(
            request, timeout=timeout
        )
        return response

    async def view(self) -> cluster_pb2.Cluster:
        """The gateway's view of the cluster."""
        response: cluster_pb2.GetClusterResponse = await self.cluster.GetCluster(
            cluster_pb2.GetClusterRequest(), timeout=PATIENCE_S
        )
        return response.cluster

    async def ready(self) -> cluster_pb2.Cluster:
        """Wait until nothing is missing."""
        watch = self.cluster.WatchCluster(cluster_pb2.WatchClusterRequest(), timeout=PATIENCE_S)
        async for response in watch:
            if not response.cluster.missing:
                watch.cancel()
                return response.cluster  # type: ignore[no-any-return]
        raise AssertionError("the watch ended")


@asynccontextmanager
async def whole(
    repository: ModelRepository, piece_images: int = 4, **options: Any
) -> AsyncIterator[tuple[Whole, Client, RunningShard]]:
    """A cluster with one of everything that is ready to answer; options are the gateway's."""
    async with Whole(repository) as cluster:
        shard = await cluster.shard(piece_images=piece_images)
        await cluster.others()
        client = await cluster.gateway(**options)
        await client.ready()
        yield cluster, client, shard
        await until(lambda: shard.device.load.outstanding_images == 0)


def png(value: int) -> bytes:
    """A picture of one value that is exactly the model's input."""
    file = io.BytesIO()
    Image.new("L", (SPEC.width, SPEC.height), value).save(file, "PNG")
    return file.getvalue()


def request_for(*contents: bytes, **fields: Any) -> recognition_pb2.RecognizeRequest:
    """A request with these encoded pictures."""
    return recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name=MODEL.name),
        images=[recognition_pb2.Image(content=content) for content in contents],
        **fields,
    )


def scores(result: recognition_pb2.ImageResult) -> dict[int, float]:
    """Index → score of a result that is an answer."""
    assert result.WhichOneof("outcome") == "classification"
    return {found.index: found.score for found in result.classification.classes}
