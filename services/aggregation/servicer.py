"""facet.aggregation.v1: streams ⇄ `combine`."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import structlog

from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2, request_pb2
from services.aggregation.combine import combine_members, combine_pieces
from services.aggregation.metrics import Combined
from services.common.errors import FacetError
from services.common.rpc.calls import serve_calls_in_turn
from services.common.rpc.context import ServicerContext
from services.common.statuses import to_status
from services.common.tracing.sparing import SparingLog
from services.common.tracing.trail import SILENT, Hop, Trail

log = structlog.get_logger(__name__)

MAX_DESCRIPTORS: Final = 256
"""Descriptors that are kept; a thousand labels take some 100 KB."""


class AggregationServicer(aggregation_pb2_grpc.AggregationServiceServicer):
    """Combines, and remembers the descriptors that it was sent."""

    def __init__(self, draining: asyncio.Event, trail: Trail = SILENT) -> None:
        self._draining = draining
        self._trail = trail
        self._failures = SparingLog(log)
        self.combined = Combined()
        self._descriptors: OrderedDict[str, model_pb2.ModelDescriptor] = OrderedDict()

    async def Combine(
        self, requests: AsyncIterator[aggregation_pb2.CombineRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await serve_calls_in_turn(
            requests,
            context,
            self._combine,
            aggregation_pb2.CombineResponse,
            self._draining,
            _concerned,
        )

    def _combine(self, request: aggregation_pb2.CombineRequest) -> aggregation_pb2.CombineResponse:
        since = time.perf_counter()
        response = aggregation_pb2.CombineResponse(
            items=[self._item(item) for item in request.items]
        )
        self.combined.seconds.observe(time.perf_counter() - since)
        return response

    def _item(self, item: aggregation_pb2.CombineItem) -> aggregation_pb2.CombinedItem:
        descriptor = self._descriptor(item)
        counted = self.combined
        if descriptor is None:
            counted.items.add("descriptor_needed")
            return aggregation_pb2.CombinedItem(descriptor_needed=True)
        began = time.monotonic()
        try:
            results = _combined(item, descriptor.labels)
        except FacetError as error:
            counted.items.add("failed")
            self._failures.warning(
                "not combined",
                error.reason,
                request_id=item.context.request_id,
                error=error.message,
            )
            return aggregation_pb2.CombinedItem(error=to_status(error))
        if self._trail.active and self._trail.wants(item.context):
            hop = Hop(item.context, began, time.monotonic(), {"images": item.images})
            self._trail.hop("combined", hop)
        counted.items.add("combined")
        counted.images += len(results)
        return aggregation_pb2.CombinedItem(results=results)

    def _descriptor(self, item: aggregation_pb2.CombineItem) -> model_pb2.ModelDescriptor | None:
        if item.HasField("descriptor"):
            self._descriptors[item.descriptor_digest] = item.descriptor
            while len(self._descriptors) > MAX_DESCRIPTORS:
                self._descriptors.popitem(last=False)
        if item.descriptor_digest in self._descriptors:
            self._descriptors.move_to_end(item.descriptor_digest)
        return self._descriptors.get(item.descriptor_digest)


def _combined(
    item: aggregation_pb2.CombineItem, labels: Sequence[str]
) -> list[recognition_pb2.ImageResult]:
    if item.members:
        return combine_members(item.members, item.rule, item.images, labels, item.top_k)
    return combine_pieces(item.pieces, item.images, labels, item.top_k)


def _concerned(
    request: aggregation_pb2.CombineRequest,
) -> Iterator[request_pb2.RequestContext]:
    return (item.context for item in request.items)
