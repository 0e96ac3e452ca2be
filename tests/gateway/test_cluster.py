"""The cluster as a gateway shows it."""

import asyncio
from collections.abc import Callable

import grpc
import pytest
from grpc_status import rpc_status

from facet.cluster.v1 import cluster_pb2
from services.common.models.repository import ModelRepository
from services.common.statuses import from_status
from tests.gateway.whole import Client, Whole, png, request_for, whole
from tests.inference.models import MODEL
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.usefixtures("no_task_left")


class Watch:
    """A client's watch of the cluster."""

    def __init__(self, client: Client) -> None:
        self.call = client.cluster.WatchCluster(
            cluster_pb2.WatchClusterRequest(), timeout=PATIENCE_S
        )

    async def until(self, holds: Callable[[cluster_pb2.Cluster], bool]) -> cluster_pb2.Cluster:
        """Wait for a view for which it holds."""
        while (response := await self.call.read()) is not grpc.aio.EOF:
            if holds(response.cluster):
                cluster: cluster_pb2.Cluster = response.cluster
                return cluster
        raise AssertionError("the watch ended")


def states(cluster: cluster_pb2.Cluster) -> dict[str, str]:
    """Service → state, of clusters with one instance of each service."""
    return {
        each.service: cluster_pb2.InstanceState.Name(each.state).removeprefix("INSTANCE_STATE_")
        for each in cluster.instances
    }


async def test_a_watcher_sees_the_cluster_come_together(repository: ModelRepository) -> None:
    async with Whole(repository) as cluster:
        client = await cluster.gateway()
        watch = Watch(client)
        first = await watch.until(lambda view: True)
        assert len(first.missing) == 5
        assert first.registry_reachable
        await cluster.others()
        await watch.until(lambda view: len(view.missing) == 2)
        await cluster.shard()
        whole_view = await watch.until(lambda view: not view.missing)
        assert states(whole_view) == dict.fromkeys(
            ("aggregation", "gateway", "inference", "preprocessing", "scheduler"), "SERVING"
        )
        services = [each.service for each in whole_view.instances]
        assert services == sorted(services)
        shard = whole_view.instances[services.index("inference")]
        assert [model.name for model in shard.models] == [MODEL.name]
        watch.call.cancel()


async def test_a_watcher_hears_of_a_scheduler_that_comes_last(
    repository: ModelRepository,
) -> None:
    async with whole(repository) as (cluster, client, _):
        watch = Watch(client)
        cluster.registry.appoint("scheduler")
        await watch.until(lambda view: list(view.missing) == ["no scheduler leads"])
        (scheduler,) = await cluster.registry.instances("scheduler")
        cluster.registry.appoint("scheduler", scheduler.address)
        await watch.until(lambda view: not view.missing)
        watch.call.cancel()


async def test_a_standby_is_shown_as_one(repository: ModelRepository) -> None:
    async with whole(repository) as (cluster, client, _):
        cluster.registry.appoint("scheduler", "127.0.0.1:1")
        view = await Watch(client).until(lambda view: states(view)["scheduler"] == "STANDBY")
        assert "no scheduler leads" in view.missing


async def test_an_instance_that_cannot_be_reached_is_shown_as_such(
    repository: ModelRepository,
) -> None:
    async with whole(repository) as (cluster, client, shard):
        watch = Watch(client)
        instance = shard.instance
        await shard.die()
        cluster.registry.enter(instance)
        view = await watch.until(lambda view: states(view).get("inference") == "UNREACHABLE")
        assert list(view.missing) == ["no inference instance can be reached"]
        watch.call.cancel()


async def test_an_unreachable_registry_is_shown_and_changes_nothing(
    repository: ModelRepository,
) -> None:
    async with whole(repository) as (cluster, client, _):
        watch = Watch(client)
        cluster.registry.set_reachable(False)
        view = await watch.until(lambda view: not view.registry_reachable)
        assert len(view.instances) == 5
        assert not view.missing
        assert (await client.recognize(request_for(png(50)))).results
        watch.call.cancel()


async def test_load_is_shown(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        watch = Watch(client)
        await client.recognize(request_for(png(50), png(51)))
        await watch.until(
            lambda view: any(each.load.completed_images == 2 for each in view.instances)
        )
        assert any(each.load.completed_images == 2 for each in (await client.view()).instances)
        watch.call.cancel()


async def test_the_performance_model_is_shown(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, shard):
        watch = Watch(client)
        await client.recognize(request_for(png(50), png(51)))
        with pytest.raises(grpc.aio.AioRpcError):
            await client.recognize(request_for())

        def ran(view: cluster_pb2.Cluster) -> bool:
            models = view.performance.models
            return bool(models) and models[0].images_per_s > 0 and models[0].wait_us > 0

        view = await watch.until(ran)
        (model,) = view.performance.models
        assert (model.model.name, model.shards) == (MODEL.name, 1)
        assert model.capacity_images_per_s == pytest.approx(view.performance.capacity_images_per_s)
        assert (view.performance.shards, view.performance.desired_shards) == (1, 1)
        (instance,) = [each for each in view.instances if each.service == "inference"]
        (load,) = instance.load.models
        batches = shard.device.load.completed_batches
        assert (load.completed_images, load.completed_batches) == (2, batches)
        assert load.predicted_us > 0
        (flow,) = instance.performance.models
        assert flow.batch_images == pytest.approx(2 / batches)
        assert flow.utilisation == pytest.approx(flow.images_per_s / flow.capacity_images_per_s)
        requests = view.performance.requests
        assert (requests.in_hand, requests.answered) == (0, 1)
        assert dict(requests.failed) == {"EMPTY_REQUEST": 1}
        # Nothing else changes from now on, and still it is told that less runs.
        now = view.performance.images_per_s
        await watch.until(lambda view: 0 < view.performance.images_per_s < now)
        watch.call.cancel()


async def test_a_watch_ends_with_the_gateway(repository: ModelRepository) -> None:
    async with whole(repository) as (_, client, _):
        watch = Watch(client)
        await watch.until(lambda view: True)
        stopping = asyncio.create_task(client.gateway.stop(PATIENCE_S))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await watch.until(lambda view: False)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        status = rpc_status.from_call(raised.value)  # type: ignore[arg-type]
        assert status is not None
        assert from_status(status).reason == "DRAINING"
        await asyncio.wait_for(stopping, PATIENCE_S)
