"""Outputs become results through whichever aggregation instance is there."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import numpy as np
import pytest

from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from facet.recognition.v1 import recognition_pb2
from facet.type.v1 import model_pb2
from gateway.aggregation import (
    MAX_ATTEMPTS,
    AggregationClient,
    AggregationLink,
    connect_aggregation,
)
from gateway.requests import Options, Output, Prepared
from services.aggregation.servicer import AggregationServicer
from services.common.deadline import Deadline
from services.common.errors import (
    DeadlineExceededError,
    ImageError,
    InternalError,
    InvalidRequestError,
    LinkLostError,
)
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.rpc.fleet import Fleet
from services.common.statuses import from_status
from services.common.tensors import to_message
from tests.fakes import MemoryRegistry
from tests.leaks import no_task_left  # noqa: F401
from tests.servers import AddToServer, RunningServer, start_server
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

PETS = model_pb2.ModelDescriptor(digest="1", labels=["cat", "dog"])


class Watched(AggregationServicer):
    """An aggregation service that can be made to wait."""

    def __init__(self) -> None:
        super().__init__(asyncio.Event())
        self.gate = asyncio.Event()
        self.gate.set()
        self.requests: list[aggregation_pb2.CombineRequest] = []

    @property
    def add(self) -> AddToServer:
        """Adds it to a server."""
        return partial(aggregation_pb2_grpc.add_AggregationServiceServicer_to_server, self)

    async def Combine(
        self, requests: AsyncIterator[aggregation_pb2.CombineRequest], context: ServicerContext
    ) -> None:
        """Serve one caller, once the gate is open."""
        await serve_calls(
            requests, context, self._wait, aggregation_pb2.CombineResponse, self._draining
        )

    async def _wait(
        self, request: aggregation_pb2.CombineRequest
    ) -> aggregation_pb2.CombineResponse:
        self.requests.append(request)
        await self.gate.wait()
        return self._combine(request)


class Stage:
    """A client and the instances that it finds in the registry."""

    def __init__(self, client: AggregationClient, registry: MemoryRegistry) -> None:
        self.client = client
        self._registry = registry
        self.servers: list[RunningServer] = []

    async def start(self, name: str, watched: Watched, port: int = 0) -> RunningServer:
        """Start an instance."""
        server = await start_server(watched.add, port=port)
        self.servers.append(server)
        self._registry.enter(server.instance("aggregation", name))
        return server

    async def combine(
        self,
        outputs: Sequence[Output],
        *,
        count: int,
        errors: dict[int, ImageError] | None = None,
        model: model_pb2.ModelDescriptor = PETS,
        seconds: float = PATIENCE_S,
    ) -> list[str]:
        """The best label or the reason of the error of each picture."""
        positions = [position for output in outputs for position in output.positions]
        prepared = Prepared(count, positions, [b""] * len(positions), errors or {})
        results = await self.client.combine(
            prepared, outputs, model, Options(), Deadline.after(seconds)
        )
        return [_told(result) for result in results]


def _told(result: recognition_pb2.ImageResult) -> str:
    if result.HasField("error"):
        return from_status(result.error).reason
    return result.classification.classes[0].label


def output(*positions: int, best: int = 0, error: InternalError | None = None) -> Output:
    """What a shard made of the pictures at these positions."""
    scores = np.zeros((len(positions), 2), np.float32)
    scores[:, best] = 1
    return Output(
        positions=positions,
        scores=None if error else to_message(scores),
        error=error,
        shard="s",
        batch_size=len(positions),
        queue_us=0,
        device_us=0,
        attempts=1,
    )


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A client for the time of the block."""
    registry = MemoryRegistry()
    fleet: Fleet[AggregationLink] = Fleet(registry, "aggregation", connect_aggregation)
    running = asyncio.create_task(fleet.run())
    staged = Stage(AggregationClient(fleet), registry)
    try:
        yield staged
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        for server in staged.servers:
            await server.die()


async def test_results_and_errors_are_in_the_order_of_the_request() -> None:
    async with stage() as staged:
        await staged.start("a", Watched())
        told = await staged.combine(
            [
                output(4, 0, best=1),
                output(1, 5, error=InternalError("x", reason="MODEL_FAILED")),
                output(3),
            ],
            count=6,
            errors={2: ImageError("x", reason="IMAGE_EMPTY")},
        )
        assert told == ["dog", "MODEL_FAILED", "IMAGE_EMPTY", "cat", "dog", "MODEL_FAILED"]


async def test_errors_alone_need_no_instance() -> None:
    async with stage() as staged:
        failed = output(0, 2, error=InternalError("x", reason="MODEL_FAILED"))
        errors = {3: ImageError("x"), 1: ImageError("x", reason="IMAGE_EMPTY")}
        told = await staged.combine([failed], count=4, errors=errors)
        assert told == ["MODEL_FAILED", "IMAGE_EMPTY", "MODEL_FAILED", "IMAGE_CORRUPT"]
        assert await staged.combine([], count=0) == []


async def test_a_model_is_explained_to_each_instance_once() -> None:
    async with stage() as staged:
        first, second = Watched(), Watched()
        server = await staged.start("a", first)
        for _ in range(3):
            assert await staged.combine([output(0)], count=1) == ["cat"]
        explained = [r.items[0].HasField("descriptor") for r in first.requests]
        assert explained == [True, False, False]
        # Another process at the same address knows nothing of it.
        await server.die()
        await staged.start("a", second, port=server.port)
        assert await staged.combine([output(0)], count=1) == ["cat"]
        assert [r.items[0].HasField("descriptor") for r in second.requests] == [False, True]


async def test_what_arrives_meanwhile_goes_into_one_call() -> None:
    async with stage() as staged:
        watched = Watched()
        await staged.start("a", watched)
        assert await staged.combine([output(0)], count=1) == ["cat"]
        watched.gate.clear()
        calls = [asyncio.create_task(staged.combine([output(0)], count=1)) for _ in range(2)]
        await until(lambda: len(watched.requests) == 3)
        calls += [asyncio.create_task(staged.combine([output(0)], count=1)) for _ in range(20)]
        await asyncio.sleep(0)
        watched.gate.set()
        assert await asyncio.gather(*calls) == [["cat"]] * 22
        assert len(watched.requests) <= 5


async def test_a_call_whose_instance_dies_is_made_again() -> None:
    async with stage() as staged:
        dying, heir = Watched(), Watched()
        server = await staged.start("a", dying)
        dying.gate.clear()
        pending = asyncio.create_task(staged.combine([output(0, best=1)], count=1))
        await until(lambda: len(dying.requests) == 1)
        await staged.start("b", heir)
        await server.die()
        assert await pending == ["dog"]
        assert len(heir.requests) == 1


async def test_a_call_that_outlives_nobody_is_given_up() -> None:
    async with stage() as staged:
        watched = Watched()
        watched.gate.clear()
        server = await staged.start("a", watched)
        pending = asyncio.create_task(staged.combine([output(0)], count=1))
        for deaths in range(1, MAX_ATTEMPTS + 1):
            await until(lambda deaths=deaths: len(watched.requests) == deaths)  # type: ignore[misc]
            await server.die()
            if deaths < MAX_ATTEMPTS:
                server = await staged.start("a", watched, port=server.port)
        with pytest.raises(LinkLostError, match=f"went away {MAX_ATTEMPTS} times"):
            await pending


async def test_nothing_waits_longer_than_its_deadline() -> None:
    async with stage() as staged:
        with pytest.raises(DeadlineExceededError, match="during aggregation"):
            await staged.combine([output(0)], count=1, seconds=0.05)
        await staged.start("a", Watched())
        assert await staged.combine([output(0)], count=1) == ["cat"]


async def test_an_output_that_does_not_fit_fails_its_request_alone() -> None:
    async with stage() as staged:
        await staged.start("a", Watched())
        other = model_pb2.ModelDescriptor(digest="2", labels=["one", "two", "three"])
        wrong, fine = await asyncio.gather(
            staged.combine([output(0)], count=1, model=other),
            staged.combine([output(0)], count=1),
            return_exceptions=True,
        )
        assert isinstance(wrong, InvalidRequestError)
        assert fine == ["cat"]
