"""What nobody waits for any more: it is not run, or counted as wasted; its mates are answered."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from google.protobuf import json_format

from facet.cluster.v1 import cluster_pb2
from gateway.__main__ import Gateway
from services.common.models.repository import ModelRepository
from tests.gateway.whole import Client, Whole, png, request_for, scores, whole
from tests.in_process import RunningShard
from tests.inference.models import scores_of
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


@asynccontextmanager
async def without_shards(repository: ModelRepository) -> AsyncIterator[tuple[Whole, Client]]:
    """A cluster whose only shard died; whatever comes later is over at the end."""
    async with whole(repository) as (cluster, client, first):
        await first.die()
        gateway = client.gateway.service
        assert isinstance(gateway, Gateway)
        yield cluster, client
        dispatcher = gateway._dispatcher
        await until(lambda: cluster.core.empty)
        await until(lambda: not (dispatcher._pieces or dispatcher.deliveries.under_way))


class Asked:
    """A request under way."""

    def __init__(self, client: Client, *values: int, seconds: float = PATIENCE_S) -> None:
        self._values = values
        self.call = client.recognition.Recognize(request_for(*map(png, values)), timeout=seconds)

    async def check(self) -> None:
        """Wait for the answer; all pictures have their scores."""
        response = await self.call
        for result, value in zip(response.results, self._values, strict=True):
            expected = dict(enumerate(scores_of(value)[0].tolist()))
            assert scores(result).items() <= expected.items()


async def first_to_run(*shards: RunningShard) -> RunningShard:
    """The first of these whose device runs a batch."""
    await until(lambda: any(shard.engine.started.is_set() for shard in shards))
    return next(shard for shard in shards if shard.engine.started.is_set())


async def load_of(
    client: Client, shard: RunningShard, holds: Callable[[cluster_pb2.ShardLoad], bool]
) -> cluster_pb2.ShardLoad:
    """A shard's load as the gateway shows it, once it holds of it."""
    watch = client.cluster.WatchCluster(cluster_pb2.WatchClusterRequest(), timeout=PATIENCE_S)
    async for response in watch:
        for instance in response.cluster.instances:
            if instance.id == shard.name and holds(instance.load):
                watch.cancel()
                return instance.load  # type: ignore[no-any-return]
    raise AssertionError("the watch ended")


async def test_a_caller_that_goes_amid_a_shared_batch_is_counted_and_harms_nobody(
    repository: ModelRepository,
) -> None:
    async with without_shards(repository) as (cluster, client):
        going, staying = Asked(client, 30, 31), Asked(client, 40, 41)
        await until(lambda: cluster.core.queued_images == 4)
        shards = [await cluster.shard(name, held=True) for name in ("a", "b")]
        shard = await first_to_run(*shards)
        going.call.cancel()
        await until(lambda: shard.told == ["cancelled"])
        shard.engine.open.set()
        await staying.check()
        assert going.call.cancelled()
        for each in shards:
            each.engine.open.set()
        assert shard.engine.batches[0] == 4
        load = await load_of(client, shard, lambda load: load.wasted_images == {"cancelled": 2})
        assert load.wasted_us == {"cancelled": load.device_us // 2}
        assert cluster.core.wasted_images["cancelled"] >= 2


async def test_a_piece_whose_deadline_passes_behind_a_running_batch_is_not_run(
    repository: ModelRepository,
) -> None:
    async with without_shards(repository) as (cluster, client):
        shards = [await cluster.shard(name, held=True) for name in ("a", "b")]
        running = []
        for _ in shards:
            running.append(Asked(client, 30))
            await until(
                lambda: sum(each.engine.started.is_set() for each in shards) == len(running)
            )
        late = Asked(client, 40, 41, 42, seconds=2)
        await until(lambda: sum(each.device.load.outstanding_images for each in shards) >= 5)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await late.call
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: any(each.told for each in shards))
        for shard in shards:
            shard.engine.open.set()
        await asyncio.gather(*(each.check() for each in running))
        await until(lambda: cluster.core.empty)
        assert max(max(shard.engine.batches) for shard in shards) < 3


async def test_the_loser_of_a_race_is_counted_as_hedged(repository: ModelRepository) -> None:
    async with without_shards(repository) as (cluster, client):
        asked = Asked(client, 30, 31, 32)
        await until(lambda: cluster.core.queued_images == 3)
        loser = await cluster.shard("a", held=True)
        await first_to_run(loser)
        winner = await cluster.shard("b")
        await asked.check()
        await until(lambda: loser.told == ["hedged"])
        assert winner.told == []
        loser.engine.open.set()
        load = await load_of(client, loser, lambda load: bool(load.wasted_images))
        assert load.wasted_images == {"hedged": 3}
        assert load.wasted_us == {"hedged": load.device_us}


async def test_an_operator_sees_what_was_wasted(repository: ModelRepository) -> None:
    async with without_shards(repository) as (cluster, client):
        shard = await cluster.shard("a", held=True)
        going = Asked(client, 30)
        await first_to_run(shard)
        going.call.cancel()
        await until(lambda: bool(shard.told))
        shard.engine.open.set()
        await load_of(client, shard, lambda load: bool(load.wasted_images))
        gateway = client.gateway.service
        assert isinstance(gateway, Gateway)
        await until(lambda: "cancelled" in gateway._dispatcher.wasted_images)
        shown = {
            each["service"]: each
            for each in json_format.MessageToDict(
                await client.view(), preserving_proto_field_name=True
            )["instances"]
        }
        assert shown["inference"]["load"]["wasted_images"] == {"cancelled": "1"}
        assert list(shown["inference"]["load"]["wasted_us"]) == ["cancelled"]
        assert int(shown["scheduler"]["wasted_images"]["cancelled"]) >= 1
        assert "wasted_images" not in shown["gateway"]
