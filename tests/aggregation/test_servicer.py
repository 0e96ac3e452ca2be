"""The aggregation service over gRPC, and what it remembers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest

from facet.aggregation.v1 import aggregation_pb2, aggregation_pb2_grpc
from facet.type.v1 import model_pb2
from google.rpc import code_pb2
from services.aggregation.servicer import MAX_DESCRIPTORS, AggregationServicer
from services.common.deadline import Deadline
from services.common.http2.channel import Channel
from services.common.rpc.links import Link
from services.common.tensors import to_message
from tests.leaks import no_task_left  # noqa: F401
from tests.servers import serving
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

AggregationLink = Link[aggregation_pb2.CombineRequest, aggregation_pb2.CombineResponse]


def descriptor(digest: str, *labels: str) -> model_pb2.ModelDescriptor:
    """What aggregation needs to know of a model."""
    return model_pb2.ModelDescriptor(digest=digest, labels=labels)


def item(
    digest: str, *scores: float, known: model_pb2.ModelDescriptor | None = None
) -> aggregation_pb2.CombineItem:
    """The outputs of one picture, with or without the descriptor."""
    piece = aggregation_pb2.PieceScores(
        positions=[0], scores=to_message(np.array([scores], np.float32))
    )
    return aggregation_pb2.CombineItem(
        descriptor_digest=digest, descriptor=known, images=1, pieces=[piece], top_k=1
    )


@asynccontextmanager
async def service() -> AsyncIterator[tuple[AggregationLink, asyncio.Event]]:
    """A link to an aggregation service, and the event that lets it drain."""
    draining = asyncio.Event()
    add = partial(
        aggregation_pb2_grpc.add_AggregationServiceServicer_to_server,
        AggregationServicer(draining),
    )

    def open_stream(channel: Channel) -> Any:
        return aggregation_pb2_grpc.AggregationServiceStub(channel).Combine()

    async with serving(add) as server:
        link: AggregationLink = Link(server.address, open_stream, lambda: None)
        running = asyncio.create_task(link.run())
        await until(lambda: link.up)
        try:
            yield link, draining
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def combine(
    link: AggregationLink, *items: aggregation_pb2.CombineItem
) -> list[aggregation_pb2.CombinedItem]:
    """Call the service."""
    request = aggregation_pb2.CombineRequest(timeout_ms=1000, items=items)
    return list((await link.call(request, Deadline.after(PATIENCE_S))).items)


def label(combined: aggregation_pb2.CombinedItem) -> str:
    """The best class of the only picture."""
    return combined.results[0].classification.classes[0].label


async def test_a_model_is_explained_once() -> None:
    async with service() as (link, _):
        pets = descriptor("1", "cat", "dog")
        (unknown,) = await combine(link, item("1", 0.2, 0.8))
        assert unknown.descriptor_needed
        assert not unknown.results
        (told,) = await combine(link, item("1", 0.2, 0.8, known=pets))
        assert label(told) == "dog"
        (remembered,) = await combine(link, item("1", 0.9, 0.1))
        assert label(remembered) == "cat"


async def test_items_of_one_call_are_independent() -> None:
    async with service() as (link, _):
        pets = descriptor("1", "cat", "dog")
        fine, unknown, wrong = await combine(
            link, item("1", 0.2, 0.8, known=pets), item("2", 1, 0), item("1", 1, 0, 0)
        )
        assert label(fine) == "dog"
        assert unknown.descriptor_needed
        assert wrong.error.code == code_pb2.INVALID_ARGUMENT
        assert not wrong.results


async def test_an_ensembles_members_are_combined() -> None:
    async with service() as (link, _):
        pieces = [item("1", 0.2, 0.8).pieces, item("1", 0.9, 0.1).pieces]
        (combined,) = await combine(
            link,
            aggregation_pb2.CombineItem(
                descriptor_digest="1",
                descriptor=descriptor("1", "cat", "dog"),
                images=1,
                top_k=1,
                rule=model_pb2.ENSEMBLE_RULE_WEIGHTED,
                members=[
                    aggregation_pb2.MemberScores(weight=weight, pieces=each)
                    for weight, each in zip((0.75, 0.25), pieces, strict=True)
                ],
            ),
        )
        assert label(combined) == "dog"
        assert combined.results[0].classification.classes[0].score == pytest.approx(0.625)


async def test_only_the_models_in_use_are_remembered() -> None:
    async with service() as (link, _):
        await combine(link, item("used", 1, known=descriptor("used", "x")))
        await combine(link, item("idle", 1, known=descriptor("idle", "x")))
        for number in range(MAX_DESCRIPTORS - 1):
            await combine(
                link,
                item("used", 1),
                item(f"{number}", 1, known=descriptor(f"{number}", "x")),
            )
        used, idle = await combine(link, item("used", 1), item("idle", 1))
        assert not used.descriptor_needed
        assert idle.descriptor_needed


async def test_a_draining_service_ends_its_streams() -> None:
    async with service() as (link, draining):
        await combine(link, item("1", 1, known=descriptor("1", "x")))
        draining.set()
        await until(lambda: not link.up)
