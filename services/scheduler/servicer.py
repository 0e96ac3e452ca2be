"""facet.scheduler.v1: streams ⇄ the desk."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from services.common.errors import InvalidRequestError, NotLeaderError
from services.common.rpc.context import ServicerContext, abort
from services.scheduler.desk import Desk

Request = TypeVar("Request")


class SchedulerServicer(scheduler_pb2_grpc.SchedulerServiceServicer):
    """Serves dispatchers and shards while this process leads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def Dispatch(
        self,
        requests: AsyncIterator[scheduler_pb2.DispatchRequest],
        context: ServicerContext,
    ) -> None:
        """Serve one dispatcher."""
        first = await self._first(requests, context)
        if not first.dispatcher:
            await abort(context, InvalidRequestError("the first message must name the dispatcher"))
        key, outbox = self._desk.dispatcher_joined(first.dispatcher)
        reader = asyncio.create_task(
            _read(requests, lambda request: self._desk.dispatcher_said(key, request), outbox.close)
        )
        try:
            self._desk.dispatcher_said(key, first)
            async for gathered in outbox.batches():
                response = scheduler_pb2.DispatchResponse()
                for part in gathered:
                    response.MergeFrom(part)
                await context.write(response)
        finally:
            self._desk.dispatcher_left(key)
            await _stop(reader)

    async def Pull(
        self,
        requests: AsyncIterator[scheduler_pb2.PullRequest],
        context: ServicerContext,
    ) -> None:
        """Serve one shard."""
        first = await self._first(requests, context)
        if not (first.hello.shard and first.hello.address):
            await abort(context, InvalidRequestError("the first message must name the shard"))
        shard = first.hello.shard
        outbox = self._desk.shard_joined(first.hello)
        reader = asyncio.create_task(
            _read(
                requests,
                lambda request: self._desk.shard_said(shard, outbox, request),
                outbox.close,
            )
        )
        try:
            self._desk.shard_said(shard, outbox, first)
            async for responses in outbox.batches():
                for response in responses:
                    await context.write(response)
        finally:
            self._desk.shard_left(shard, outbox)
            await _stop(reader)

    async def _first(self, requests: AsyncIterator[Request], context: ServicerContext) -> Request:
        await self._must_lead(context)
        async for request in requests:
            await self._must_lead(context)  # it may have changed meanwhile
            return request
        return await abort(
            context, InvalidRequestError("the stream ended before its first message")
        )

    async def _must_lead(self, context: ServicerContext) -> None:
        if not self._desk.leading:
            await abort(context, NotLeaderError("this scheduler is a standby; ask the leader"))


async def _read(
    requests: AsyncIterator[Request], apply: Callable[[Request], None], ended: Callable[[], None]
) -> None:
    try:
        async for request in requests:
            apply(request)
    finally:
        ended()


async def _stop(reader: asyncio.Task[None]) -> None:
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
