"""facet.recognition.v1: the public dialect ⇄ the pipeline."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final

import grpc

from facet.recognition.v1 import recognition_pb2, recognition_pb2_grpc
from gateway.catalog import Catalog, ServedModel
from gateway.checks import Limits, check_one_source, check_options, check_selector
from gateway.counts import RequestCounts
from gateway.door.door import Door
from gateway.models import Models
from gateway.pipeline import Pipeline
from gateway.requests import Prepared
from services.common.deadline import Deadline
from services.common.errors import FacetError, OverloadedError
from services.common.rpc.calls import answer_stream, domain_error
from services.common.rpc.context import ServicerContext, abort
from services.common.statuses import status_code, to_status
from services.common.tracing.requests import Requests
from services.common.tracing.span import CURRENT

STREAMED: Final = "StreamRecognize"
"""What a request of a stream is to logs."""


class RecognitionServicer(recognition_pb2_grpc.RecognitionServiceServicer):
    """Checks what comes in, and turns domain errors into statuses."""

    def __init__(
        self,
        pipeline: Pipeline,
        catalog: Catalog,
        models: Models,
        limits: Limits,
        counts: RequestCounts,
        door: Door,
        max_stream_requests: int,
        draining: asyncio.Event,
        requests: Requests,
    ) -> None:
        """`requests`: who is told of those that come in a stream."""
        self._pipeline = pipeline
        self._catalog = catalog
        self._models = models
        self._limits = limits
        self._counts = counts
        self._door = door
        self._max_stream_requests = max_stream_requests
        self._draining = draining
        self._requests = requests

    async def Recognize(
        self, request: recognition_pb2.RecognizeRequest, context: ServicerContext
    ) -> recognition_pb2.RecognizeResponse:
        """Answer one request."""
        try:
            return await self._counted(request, context)
        except FacetError as error:
            await abort(context, error)

    async def StreamRecognize(
        self,
        requests: AsyncIterator[recognition_pb2.StreamRecognizeRequest],
        context: ServicerContext,
    ) -> None:
        """Answer each request of a stream as its answer is ready."""
        stream, numbers = CURRENT.get(), itertools.count(1)

        async def answer(
            item: recognition_pb2.StreamRecognizeRequest,
        ) -> recognition_pb2.StreamRecognizeResponse:
            span = stream.part(next(numbers))
            CURRENT.set(span)  # each has a task of its own
            code = grpc.StatusCode.CANCELLED
            try:
                response = await self._counted(item.request, context)
                code = grpc.StatusCode.OK
            except FacetError as error:
                span.fail(error)
                code = status_code(error)
                return recognition_pb2.StreamRecognizeResponse(
                    id=item.id, error=to_status(error, span.context.request_id)
                )
            finally:
                self._requests.over(span, STREAMED, code)
            return recognition_pb2.StreamRecognizeResponse(id=item.id, response=response)

        await answer_stream(requests, context, answer, self._draining, self._max_stream_requests)

    async def ListModels(
        self, request: recognition_pb2.ListModelsRequest, context: ServicerContext
    ) -> recognition_pb2.ListModelsResponse:
        """List the versions that shards have loaded."""
        models = [_model(served) for served in self._catalog.served()]
        return recognition_pb2.ListModelsResponse(models=models)

    async def GetModel(
        self, request: recognition_pb2.GetModelRequest, context: ServicerContext
    ) -> recognition_pb2.GetModelResponse:
        """Describe one version."""
        try:
            deadline = self._limits.deadline(context.time_remaining())
            served = await self._models.describe(check_selector(request.model), deadline)
        except Exception as error:
            await abort(context, domain_error(error))
        response = recognition_pb2.GetModelResponse(model=_model(served))
        response.model.labels.extend(served.descriptor.labels)
        return response

    async def _counted(
        self, request: recognition_pb2.RecognizeRequest, context: ServicerContext
    ) -> recognition_pb2.RecognizeResponse:
        """Recognise, and count what comes of it; raises FacetError and nothing else."""
        since = time.perf_counter()
        self._counts.in_hand += 1
        try:
            deadline = self._limits.deadline(context.time_remaining())
            response = await self._recognize(request, deadline)
        except asyncio.CancelledError:
            self._counts.cancelled()
            raise
        except Exception as unforeseen:
            error = domain_error(unforeseen)
            self._counts.failed(error)
            if error is unforeseen:
                raise
            raise error from unforeseen
        finally:
            self._counts.in_hand -= 1
        self._counts.answered(response, since)
        return response

    async def _recognize(
        self, request: recognition_pb2.RecognizeRequest, deadline: Deadline
    ) -> recognition_pb2.RecognizeResponse:
        check_one_source(request)
        options = check_options(request.options)
        model = await self._models.find(check_selector(request.model), deadline)
        prepared: Prepared | None = None
        images: Sequence[bytes] = ()
        if request.HasField("tensor"):
            prepared = self._limits.tensor(request.tensor, model.input)
        else:
            images = self._limits.images(request)
        count = prepared.count if prepared is not None else len(images)
        self._door.charge(count)
        try:
            if prepared is not None:
                return await self._pipeline.recognize_prepared(prepared, model, options, deadline)
            return await self._pipeline.recognize(images, model, options, deadline)
        except OverloadedError:
            self._door.give_back(count)  # the cluster itself refused them
            raise


def _model(served: ServedModel) -> recognition_pb2.Model:
    """All but the labels."""
    descriptor = served.descriptor
    return recognition_pb2.Model(
        model=descriptor.model,
        input=descriptor.input,
        classes=len(descriptor.labels),
        shards=served.shards,
        engine=descriptor.engine,
        ensemble=descriptor.ensemble if descriptor.HasField("ensemble") else None,
    )
