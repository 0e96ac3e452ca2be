"""The gateway: `python -m gateway`."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any, Final

from prometheus_client.core import Metric

from facet.cluster.v1 import cluster_pb2_grpc
from facet.inference.v1 import inference_pb2
from facet.recognition.v1 import recognition_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2
from gateway.aggregation import AggregationClient, connect_aggregation
from gateway.catalog import Catalog
from gateway.checks import Limits
from gateway.cluster import ClusterServicer
from gateway.cluster_view import ClusterView
from gateway.counts import RequestCounts
from gateway.dispatcher import Dispatcher
from gateway.door.door import Door
from gateway.ensembles import Ensembles
from gateway.metrics import cluster_metrics, request_metrics, step_metrics
from gateway.models import Models
from gateway.performance import Performance
from gateway.pipeline import Pipeline
from gateway.pixels import PixelMemory
from gateway.preprocessing import PreprocessingClient, connect_preprocessing
from gateway.recognition import RecognitionServicer
from gateway.settings import GatewaySettings
from gateway.shards import ShardLink
from services.common.process import Context, Service, Servicer, run_service
from services.common.registry import Instance
from services.common.rpc.fleet import Fleet
from services.common.rpc.leader import SCHEDULER_ROLE, follow_leader
from services.common.tracing.interceptor import RequestInterceptor
from services.common.tracing.requests import Requests

NAME: Final = "gateway"
SETTLED_WITHIN_S: Final = 10.0
"""A gateway joins a shared port after that time, whatever it knows: it may be the only one."""


class Gateway(Service):
    """Wires the pipeline to the fleets that it works with."""

    def __init__(self, settings: GatewaySettings, context: Context) -> None:
        self._registry = registry = context.registry
        self._protection = protection = context.protection
        self._draining = asyncio.Event()
        self._catalog = Catalog()
        self._performance = Performance(self._reachable_shards)
        self._memory = PixelMemory(settings.shared_memory_bytes)
        self._shards = Fleet(registry, "inference", self._connect_shard, self._shards_changed)
        preprocessing = Fleet(
            registry,
            "preprocessing",
            partial(connect_preprocessing, tls=protection.to("preprocessing")),
            self._notify,
        )
        aggregation = Fleet(
            registry,
            "aggregation",
            partial(connect_aggregation, tls=protection.to("aggregation")),
            self._notify,
        )
        self._dispatcher = Dispatcher(
            context.instance.id,
            self._shards,
            self._memory,
            max_queued_images=settings.max_queued_images,
            on_change=self._notify,
            on_queues=self._queues_are,
        )
        self._steps = steps = (
            PreprocessingClient(preprocessing, self._memory),
            self._dispatcher,
            AggregationClient(aggregation),
        )
        self._counts = RequestCounts()
        models = Models(self._catalog, self._shards.links)
        pipeline = Pipeline(*steps, Ensembles(models.find, *steps))
        self._fleets: dict[str, Fleet[Any]] = {
            fleet.service: fleet for fleet in (preprocessing, self._shards, aggregation)
        }
        self._view = ClusterView(
            registry,
            self._fleets,
            self._catalog,
            lambda: self._dispatcher.connected,
            lambda: self._dispatcher.wasted_images,
            self._performance,
            self._counts,
            settings.gateways,
        )
        self.shared_port = settings.shared_port
        requests = Requests(context.trail)
        self.limits = settings.server_limits()
        self._door = Door(settings)
        self.interceptors = (RequestInterceptor(requests), *self._door.interceptors)
        limits = Limits(settings.max_images, settings.default_deadline_s, settings.max_deadline_s)
        self.servicers = (
            Servicer(
                "facet.recognition.v1.RecognitionService",
                recognition_pb2_grpc.add_RecognitionServiceServicer_to_server,
                RecognitionServicer(
                    pipeline,
                    self._catalog,
                    models,
                    limits,
                    self._counts,
                    self._door,
                    settings.max_stream_requests,
                    self._draining,
                    requests,
                ),
            ),
            Servicer(
                "facet.cluster.v1.ClusterService",
                cluster_pb2_grpc.add_ClusterServiceServicer_to_server,
                ClusterServicer(self._view, self._draining),
            ),
        )

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Follow the registry, the shards and the scheduler."""
        for fleet in self._fleets.values():
            background(fleet.run())
        for watcher in (*self._view.watchers(), *self._door.watchers()):
            background(watcher)
        background(
            follow_leader(
                self._registry,
                SCHEDULER_ROLE,
                self._dispatcher.session,
                self._protection.to("scheduler"),
            )
        )

    def metrics(self) -> Iterable[Metric]:
        """Tell what came of the requests, and what the gateway sees of the cluster."""
        yield from request_metrics(self._counts)
        yield from step_metrics(*self._steps)
        yield from cluster_metrics(self._view, self._fleets, self._performance)

    async def settled(self) -> None:
        """Wait for the models and the links: without them every request would be refused.

        Not for a scheduler, which can be done without.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLED_WITHIN_S):
                while self._view.unable():
                    await self._view.changed.wait()

    async def drain(self) -> None:
        """Answer the requests in hand; streams end after theirs."""
        self._draining.set()

    async def close(self) -> None:
        """Let go of the shared memory."""
        self._memory.close()

    def _connect_shard(self, instance: Instance, on_change: Callable[[], None]) -> ShardLink:
        return ShardLink(
            instance, on_change, self._shard_reported, self._protection.to("inference")
        )

    def _shard_reported(self, shard: str, report: inference_pb2.WatchShardResponse) -> None:
        self._catalog.report(shard, report)
        self._performance.shard_reported(shard, report.load)
        self._dispatcher.shard_reported(shard, self._catalog.reports[shard])
        if report.models_included:
            self._dispatcher.give_up(self._catalog.why_not)
        self._notify()

    def _shards_changed(self) -> None:
        self._catalog.keep_only(self._shards.links)
        self._dispatcher.shards_are(self._shards.links)
        self._performance.shards_are(self._shards.links)
        self._notify()

    def _queues_are(self, queues: Sequence[scheduler_pb2.ModelQueue]) -> None:
        self._performance.queues_are(queues)
        self._notify()

    def _reachable_shards(self) -> list[str]:
        return [name for name, link in self._shards.links.items() if link.up]

    def _notify(self) -> None:
        self._view.notify()


def main() -> None:
    """Run the gateway until SIGTERM."""
    run_service(NAME, GatewaySettings, Gateway)


if __name__ == "__main__":
    main()
