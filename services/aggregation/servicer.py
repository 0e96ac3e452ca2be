"""facet.aggregation.v1: streams ⇄ `combine`."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator
from typing import Final

import structlog

from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from facet.type.v1 import model_pb2, request_pb2
from services.aggregation.combine import Ranking, combine_members, combine_pieces
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
        began = time.monotonic()
        response = aggregation_pb2.CombineResponse()
        rankings: dict[tuple[str, int, int], Ranking] = {}
        for item in request.items:
            self._combine_item(item, response.items.add(), rankings)
        for ranking in rankings.values():
            ranking.write()
        ended = time.monotonic()
        self.combined.seconds.observe(ended - began)
        if self._trail.active:
            self._tell(request, response, began, ended)
        return response

    def _combine_item(
        self,
        item: aggregation_pb2.CombineItem,
        combined: aggregation_pb2.CombinedItem,
        rankings: dict[tuple[str, int, int], Ranking],
    ) -> None:
        """Fill `combined`, but for the classes that `rankings` write at the end."""
        descriptor = self._descriptor(item)
        counted = self.combined
        if descriptor is None:
            counted.items.add("descriptor_needed")
            combined.descriptor_needed = True
            return
        labels, results = descriptor.labels, combined.results
        try:
            if item.members:
                combine_members(item.members, item.rule, item.images, labels, item.top_k, results)
            else:
                key = (item.descriptor_digest, len(labels), item.top_k)
                if (ranking := rankings.get(key)) is None:
                    ranking = rankings[key] = Ranking(labels, item.top_k)
                combine_pieces(item.pieces, item.images, labels, ranking, results)
        except FacetError as error:
            counted.items.add("failed")
            self._failures.warning(
                "not combined",
                error.reason,
                request_id=item.context.request_id,
                error=error.message,
            )
            combined.error.CopyFrom(to_status(error))
            return
        counted.items.add("combined")
        counted.images += item.images

    def _tell(
        self,
        request: aggregation_pb2.CombineRequest,
        response: aggregation_pb2.CombineResponse,
        began: float,
        ended: float,
    ) -> None:
        for item, combined in zip(request.items, response.items, strict=True):
            if combined.results and self._trail.wants(item.context):
                hop = Hop(item.context, began, ended, {"images": item.images})
                self._trail.hop("combined", hop)

    def _descriptor(self, item: aggregation_pb2.CombineItem) -> model_pb2.ModelDescriptor | None:
        if item.HasField("descriptor"):
            self._descriptors[item.descriptor_digest] = item.descriptor
            while len(self._descriptors) > MAX_DESCRIPTORS:
                self._descriptors.popitem(last=False)
        if item.descriptor_digest in self._descriptors:
            self._descriptors.move_to_end(item.descriptor_digest)
        return self._descriptors.get(item.descriptor_digest)


def _concerned(
    request: aggregation_pb2.CombineRequest,
) -> Iterator[request_pb2.RequestContext]:
    return (item.context for item in request.items)
