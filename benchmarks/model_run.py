"""What the performance model says of a real cluster under load, next to what really happened."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import grpc
import numpy as np

from benchmarks.clusters import Cluster, cluster
from benchmarks.measurement import OthersMeter
from benchmarks.model_load import Answer, Mixed, MixedOrder
from benchmarks.models import DIGITS, digits_repository, photograph_repository
from benchmarks.workers import Worker, worker
from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.launcher.plan import MALLOC_ENVIRONMENT

LOADS: Final = (0.15, 0.35, 0.55, 0.75, 0.95, 1.2)
"""Steps, as shares of the capacity that the cluster says it has before the first."""
CALLERS: Final = 6
TIMEOUT_S: Final = 2.0
"""Of each request: what would be late is refused."""


@dataclass(slots=True)
class ShardPoints:
    """Batches of one shard while it learned, and what it made of them."""

    shard: str
    images: list[int] = field(default_factory=list)
    device_us: list[int] = field(default_factory=list)
    predicted_us: list[int] = field(default_factory=list)
    batch_us: float = 0.0
    image_us: float = 0.0
    slowness: float = 1.0

    @property
    def errors(self) -> list[float]:
        """(predicted - real) / real of each batch."""
        pairs = zip(self.predicted_us, self.device_us, strict=True)
        return [(predicted - real) / real for predicted, real in pairs if real]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the load."""

    share: float
    """Of the capacity before the first step."""
    offered_images_per_s: float
    answered_images_per_s: float
    """As the client saw it."""
    images_per_s: float
    """As the cluster tells it, and all that follows."""
    capacity_images_per_s: float
    utilisation: float
    busy_share: float
    batch_images: float
    desired_shards: int
    p95_ms: float
    """Of the answered requests."""
    refused: int


@dataclass(frozen=True, slots=True)
class Run:
    """All that was measured."""

    model: str
    shards: Sequence[ShardPoints]
    steps: Sequence[Step]
    others_cores: float


def measure(model: str, seconds: float) -> Run:
    """Start a cluster, let it learn, and raise the load step by step."""
    models = digits_repository() if model == DIGITS else photograph_repository()
    os.environ.update(MALLOC_ENVIRONMENT)  # of the worker process
    with cluster(models) as running, grpc.insecure_channel(running.gateway) as channel:
        view = partial(_view, cluster_pb2_grpc.ClusterServiceStub(channel))
        others = OthersMeter()
        with worker(partial(Mixed, running.gateway, model)) as client:
            client.run(MixedOrder(min(seconds, 3.0), TIMEOUT_S, callers=CALLERS))  # warms up
            with _watched(view()) as shards:
                client.run(MixedOrder(seconds, TIMEOUT_S, callers=CALLERS))
            _note_fits(shards, view())
            capacity = view().performance.capacity_images_per_s
            steps = [_step(client, view, share, capacity, seconds) for share in LOADS]
        _check(running)
        return Run(model, shards, steps, others.cores())


def _step(
    client: Worker[MixedOrder, list[Answer]],
    view: Callable[[], cluster_pb2.Cluster],
    share: float,
    capacity: float,
    seconds: float,
) -> Step:
    client.start(MixedOrder(seconds, TIMEOUT_S, images_per_s=share * capacity))
    threading.Event().wait(seconds)  # the step is so long, and no event ends it
    seen = view()
    answers = client.result()
    performance = seen.performance
    shards = [each for each in seen.instances if each.service == "inference"]
    flows = [flow for shard in shards for flow in shard.performance.models if flow.batch_images]
    answered = [answer for answer in answers if answer.outcome == "OK"]
    in_time = [answer for answer in answered if answer.ended_s <= seconds]
    latencies = [1e3 * answer.seconds for answer in answered]
    return Step(
        share=share,
        offered_images_per_s=sum(answer.images for answer in answers) / seconds,
        answered_images_per_s=sum(answer.images for answer in in_time) / seconds,
        images_per_s=performance.images_per_s,
        capacity_images_per_s=performance.capacity_images_per_s,
        utilisation=performance.utilisation,
        busy_share=sum(shard.performance.busy_share for shard in shards) / len(shards),
        batch_images=float(np.mean([flow.batch_images for flow in flows])) if flows else 0.0,
        desired_shards=performance.desired_shards,
        p95_ms=float(np.percentile(latencies, 95)) if latencies else 0.0,
        refused=len(answers) - len(answered),
    )


def _view(stub: cluster_pb2_grpc.ClusterServiceStub) -> cluster_pb2.Cluster:
    response: cluster_pb2.GetClusterResponse = stub.GetCluster(
        cluster_pb2.GetClusterRequest(), timeout=TIMEOUT_S
    )
    return response.cluster


@contextmanager
def _watched(view: cluster_pb2.Cluster) -> Iterator[list[ShardPoints]]:
    """Gather every batch that the shards run in the block."""
    points: list[ShardPoints] = []
    channels, calls, threads = [], [], []
    for instance in view.instances:
        if instance.service == "inference":
            channel = grpc.insecure_channel(instance.address)
            stub = inference_pb2_grpc.InferenceServiceStub(channel)
            call = stub.WatchBatches(inference_pb2.WatchBatchesRequest())
            points.append(ShardPoints(instance.id))
            thread = threading.Thread(target=_gather, args=(call, points[-1]))
            thread.start()
            channels.append(channel)
            calls.append(call)
            threads.append(thread)
    try:
        yield points
        threading.Event().wait(0.3)  # what ran last is told a tenth of a second later
    finally:
        for call in calls:
            call.cancel()
        for thread in threads:
            thread.join()
        for channel in channels:
            channel.close()


def _gather(call: Iterator[inference_pb2.WatchBatchesResponse], points: ShardPoints) -> None:
    try:
        for response in call:
            for batch in response.batches:
                points.images.append(batch.images)
                points.device_us.append(batch.device_us)
                points.predicted_us.append(batch.predicted_us)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.CANCELLED:
            raise


def _note_fits(shards: Sequence[ShardPoints], view: cluster_pb2.Cluster) -> None:
    loads = {instance.id: instance.load for instance in view.instances}
    for points in shards:
        (fit,) = loads[points.shard].models
        points.batch_us, points.image_us = fit.batch_us, fit.image_us
        points.slowness = fit.slowness


def _check(running: Cluster) -> None:
    if running.deaths:
        raise RuntimeError(f"processes died: {running.deaths}")
