"""Whoever watches a shard's batches sees each of them, or how many it missed."""

from pathlib import Path

import grpc
import pytest

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from services.inference.batch_log import KEPT, BatchLog
from tests.gateway.whole import png, request_for, whole
from tests.inference.models import MODEL, repository_in
from tests.leaks import no_task_left  # noqa: F401
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")


def test_each_watcher_gets_what_ran_since_it_looked() -> None:
    log = BatchLog()
    assert not log
    log.ran(inference_pb2.Batch(images=1))
    first = log.watch()
    assert log
    log.ran(inference_pb2.Batch(images=2))
    second = log.watch()
    log.ran(inference_pb2.Batch(images=3))
    assert [batch.images for batch in first.take().batches] == [2, 3]
    assert [batch.images for batch in second.take().batches] == [3]
    assert not first.some.is_set()
    log.leave(first)
    log.leave(second)
    assert not log


def test_a_slow_watcher_is_told_how_many_it_missed() -> None:
    log = BatchLog()
    watcher = log.watch()
    for images in range(KEPT + 5):
        log.ran(inference_pb2.Batch(images=images))
    taken = watcher.take()
    assert (len(taken.batches), taken.left_out) == (KEPT, 5)
    assert taken.batches[0].images == 5
    assert not watcher.take().left_out


async def test_batches_are_streamed_as_they_run(tmp_path: Path) -> None:
    async with whole(repository_in(tmp_path)) as (_, client, shard):
        await client.recognize(request_for(png(1)))  # before anybody watches
        async with grpc.aio.insecure_channel(shard.instance.address) as channel:
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            call = stub.WatchBatches(inference_pb2.WatchBatchesRequest(), timeout=PATIENCE_S)
            await until(lambda: bool(shard.device.batch_log))
            await client.recognize(request_for(png(2), png(3), png(4)))
            seen: list[inference_pb2.Batch] = []
            while sum(batch.images for batch in seen) < 3:
                seen += (await call.read()).batches
            assert sum(batch.images for batch in seen) == 3
            assert all(batch.model == MODEL.to_message() for batch in seen)
            assert all(batch.predicted_us > 0 for batch in seen)
            call.cancel()
        await until(lambda: not shard.device.batch_log)
