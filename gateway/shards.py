"""Links to inference shards: their work, and what they say of themselves."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc
from grpc_status import rpc_status

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.type.v1 import model_pb2
from services.common.deadline import Deadline
from services.common.errors import UnavailableError
from services.common.http2.channel import Channel
from services.common.http2.tls import ClientTls
from services.common.models.key import ModelKey
from services.common.registry import Instance
from services.common.rpc.cancellation import heed_cancellation
from services.common.rpc.links import Link
from services.common.shared_memory import shares_memory
from services.common.statuses import from_status

RETRY_S: Final = 0.2


class ShardLink:
    """One shard: calls to it, and a watch of its models and load.

    `on_report(shard, report)` is called with each report, in order.
    """

    def __init__(
        self,
        instance: Instance,
        on_change: Callable[[], None],
        on_report: Callable[[str, inference_pb2.WatchShardResponse], None],
        tls: ClientTls | None = None,
    ) -> None:
        self._tls = tls
        self._instance = instance
        self._on_report = on_report
        self._retired = False
        self._calls: Link[inference_pb2.InferRequest, inference_pb2.InferResponse] = Link(
            instance.address,
            _open_stream,
            on_change,
            shares_memory=shares_memory(instance.meta),
            tls=tls,
        )

    @property
    def up(self) -> bool:
        """Calls can be sent."""
        return self._calls.up

    @property
    def shares_memory(self) -> bool:
        """The shard can open this process's memory."""
        return self._calls.shares_memory

    @property
    def in_flight(self) -> int:
        """Calls that wait for their response."""
        return self._calls.in_flight

    async def call(
        self, request: inference_pb2.InferRequest, deadline: Deadline
    ) -> inference_pb2.InferResponse:
        """See `Link.call`."""
        return await self._calls.call(request, deadline)

    def tell(self, request: inference_pb2.InferRequest) -> None:
        """See `Link.tell`."""
        self._calls.tell(request)

    async def describe(self, model: ModelKey, deadline: Deadline) -> model_pb2.ModelDescriptor:
        """Return what the shard knows of a version that it need not have loaded.

        Raises its domain error, and UnavailableError when it does not answer.
        """
        request = inference_pb2.DescribeModelRequest(model=model.to_message())
        async with Channel(self._instance.address, self._tls) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            try:
                response: inference_pb2.DescribeModelResponse = await stub.DescribeModel(
                    request, timeout=deadline.remaining_s
                )
            except grpc.aio.AioRpcError as error:
                status = rpc_status.from_call(error)  # type: ignore[arg-type]  # duck-typed
                if status is None:
                    raise UnavailableError(f"{self._instance.id}: {error.details()}") from error
                raise from_status(status) from error
        return response.model

    def retire(self) -> None:
        """Let `run` return once the calls in flight have ended; there are no more reports."""
        self._retired = True
        self._calls.retire()

    async def run(self) -> None:
        """Keep calls and watch open until the link is retired and idle."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._calls.run()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self) -> None:
        async with Channel(self._instance.address, self._tls) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            while True:
                try:
                    async for report in stub.WatchShard(inference_pb2.WatchShardRequest()):
                        if self._retired:
                            return
                        self._on_report(self._instance.id, report)
                except grpc.aio.AioRpcError:
                    pass  # `up` says so; the calls' link logs it
                heed_cancellation()
                await asyncio.sleep(RETRY_S)


def _open_stream(channel: Channel) -> Any:
    return inference_pb2_grpc.InferenceServiceStub(channel).Infer()
