"""facet.inference.v1: streams ⇄ the shard."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Final

from facet.cluster.v1 import cluster_pb2
from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.type.v1 import request_pb2
from services.common.errors import FacetError
from services.common.models.key import ModelKey
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext, abort
from services.inference.batch import Caller
from services.inference.device import Device
from services.inference.host import ModelHost
from services.inference.load_message import load_message
from services.inference.shard import Shard

LOAD_PERIOD_S: Final = 0.1


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Serves dispatchers, and whoever watches the shard."""

    def __init__(
        self, shard: Shard, host: ModelHost, device: Device, draining: asyncio.Event
    ) -> None:
        self._shard = shard
        self._host = host
        self._device = device
        self._draining = draining
        self._models_changed = asyncio.Event()

    def models_changed(self) -> None:
        """Send the new list to everybody who watches."""
        self._models_changed.set()
        self._models_changed = asyncio.Event()

    async def Infer(
        self, requests: AsyncIterator[inference_pb2.InferRequest], context: ServicerContext
    ) -> None:
        """Run the parts that one dispatcher sends."""
        caller = Caller()

        async def handle(request: inference_pb2.InferRequest) -> inference_pb2.InferResponse | None:
            if request.unwanted:
                self._shard.unwanted(caller, request)
                return None
            return await self._shard.infer(caller, request)

        await serve_calls(
            requests, context, handle, inference_pb2.InferResponse, self._draining, _concerned
        )

    async def WatchShard(
        self, request: inference_pb2.WatchShardRequest, context: ServicerContext
    ) -> AsyncIterator[inference_pb2.WatchShardResponse]:
        """Send models and load now and after every change."""
        sequence, models_changed, sent = 0, True, None
        while not self._draining.is_set():
            load, changed = load_message(self._device, self._host), self._models_changed
            if models_changed or load != sent:
                sequence, sent = sequence + 1, load
                yield self._report(sequence, load, models=models_changed)
            models_changed = await _set_within(changed, LOAD_PERIOD_S)

    async def WatchBatches(
        self, request: inference_pb2.WatchBatchesRequest, context: ServicerContext
    ) -> AsyncIterator[inference_pb2.WatchBatchesResponse]:
        """Send the batches that run."""
        log = self._device.batch_log
        watcher = log.watch()
        try:
            while not self._draining.is_set():
                if await _set_within(watcher.some, LOAD_PERIOD_S):
                    yield watcher.take()
                    await _set_within(self._draining, LOAD_PERIOD_S)  # gathers what runs meanwhile
        finally:
            log.leave(watcher)

    async def DescribeModel(
        self, request: inference_pb2.DescribeModelRequest, context: ServicerContext
    ) -> inference_pb2.DescribeModelResponse:
        """Describe a version, loaded or not."""
        try:
            descriptor = self._host.describe(ModelKey.from_message(request.model))
        except FacetError as error:
            await abort(context, error)
        return inference_pb2.DescribeModelResponse(model=descriptor)

    def _report(
        self, sequence: int, load: cluster_pb2.ShardLoad, *, models: bool
    ) -> inference_pb2.WatchShardResponse:
        report = inference_pb2.WatchShardResponse(
            sequence=sequence, load=load, models_included=models
        )
        if models:
            report.models.extend(self._host.descriptors)
            report.models.extend(self._host.ensembles)
            report.refused.extend(
                cluster_pb2.RefusedModel(model=key.to_message(), reason=reason)
                for key, reason in sorted(self._host.refused.items())
            )
            report.releases.extend(self._host.releases)
        return report


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()  # it may have been set in the very moment in which the time was over


def _concerned(request: inference_pb2.InferRequest) -> Iterator[request_pb2.RequestContext]:
    return (piece.context for piece in request.pieces)
