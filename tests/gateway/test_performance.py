"""Rates, capacity and the shards that are wanted, from reports under a clock of the test's own."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facet.cluster.v1 import cluster_pb2
from facet.scheduler.v1 import scheduler_pb2
from gateway.performance import Performance
from services.common.models.key import ModelKey
from services.common.scheduling.desired import STABLE_S

CATS, DOGS = ModelKey("cats", 1), ModelKey("dogs", 2)
A_US, C_US, BATCH = 4000, 1000, 32
FULL_PER_S = BATCH / (A_US + C_US * BATCH) * 1e6


def model_load(key: ModelKey = CATS, images: int = 0, **fields: Any) -> cluster_pb2.ModelLoad:
    """What a shard says of a model that ran so many images in batches of four."""
    given_fields: dict[str, Any] = {
        "max_batch": BATCH,
        "batch_us": A_US,
        "image_us": C_US,
        "slowness": 1.0,
        "completed_images": images,
        "completed_batches": images // 4,
        "device_us": 2000 * images,
        "predicted_us": 1800 * images,
    }
    return cluster_pb2.ModelLoad(model=key.to_message(), **{**given_fields, **fields})


class Cluster:
    """A gateway's view of shards that report."""

    def __init__(self, *shards: str) -> None:
        self.now = 1000.0
        self.reachable = list(shards)
        self.performance = Performance(lambda: self.reachable, lambda: self.now)
        for shard in shards:
            self.report(shard, model_load())

    def report(self, shard: str, *models: cluster_pb2.ModelLoad) -> None:
        device_us = sum(model.device_us for model in models)
        load = cluster_pb2.ShardLoad(device_us=device_us, models=models)
        self.performance.shard_reported(shard, load)

    def queue(self, asked: int, refused: int, waiting: int = 0) -> None:
        self.performance.queues_are(
            [
                scheduler_pb2.ModelQueue(
                    model=CATS.to_message(),
                    waiting_images=waiting,
                    wait_us=7000,
                    asked_images=asked,
                    refused_images=refused,
                )
            ]
        )

    def run(self, seconds: int, per_s: int, refused_per_s: int = 0) -> None:
        """Let every shard run so many images of cats a second."""
        start = self.now
        for step in range(1, 10 * seconds + 1):
            self.now = start + step / 10
            for shard in self.reachable:
                self.report(shard, model_load(images=per_s * step // 10))
            asked = (per_s * len(self.reachable) + refused_per_s) * step // 10
            self.queue(asked, refused_per_s * step // 10, waiting=3)


def test_an_idle_cluster_has_all_its_capacity_left() -> None:
    shown = Cluster("a", "b").performance.cluster()
    assert shown.images_per_s == shown.utilisation == 0
    assert shown.capacity_images_per_s == pytest.approx(2 * FULL_PER_S)
    assert shown.headroom_images_per_s == pytest.approx(2 * FULL_PER_S)
    assert (shown.shards, shown.desired_shards) == (2, 1)


def test_a_loaded_cluster_has_what_is_left() -> None:
    cluster = Cluster("a", "b")
    cluster.run(20, per_s=400)
    shown = cluster.performance.cluster()
    assert shown.images_per_s == pytest.approx(800, rel=0.06)
    assert shown.utilisation == pytest.approx(400 / FULL_PER_S, rel=0.06)
    left = shown.capacity_images_per_s - shown.images_per_s
    assert shown.headroom_images_per_s == pytest.approx(left)
    assert shown.waiting_images == 3
    (cats,) = shown.models
    assert ModelKey.from_message(cats.model) == CATS
    assert (cats.shards, cats.waiting_images, cats.wait_us) == (2, 3, 7000)
    assert cats.headroom_images_per_s == pytest.approx(shown.headroom_images_per_s)
    assert cats.asked_images_per_s == pytest.approx(800, rel=0.06)
    assert cluster.performance.moves


def test_a_shard_shows_its_batches_and_how_they_were_foretold() -> None:
    cluster = Cluster("a")
    cluster.run(20, per_s=400)
    shown = cluster.performance.shard("a")
    assert shown is not None
    assert shown.busy_share == pytest.approx(0.8, rel=0.06)
    (cats,) = shown.models
    assert cats.batch_images == pytest.approx(4, rel=0.01)
    assert cats.predicted_to_real == pytest.approx(0.9, rel=0.01)
    assert cats.utilisation == shown.utilisation == pytest.approx(400 / FULL_PER_S, rel=0.06)
    assert cluster.performance.shard("b") is None


def test_busy_is_not_load() -> None:
    cluster = Cluster("a")
    start = cluster.now
    for step in range(1, 201):  # batches of one, one after the other: 5 ms each
        cluster.now, images = start + step / 10, 20 * step
        report = model_load(images=images, device_us=5000 * images, completed_batches=images)
        cluster.report("a", report)
    shown = cluster.performance.shard("a")
    assert shown is not None
    assert shown.busy_share == pytest.approx(1, rel=0.06)
    assert shown.utilisation == pytest.approx(0.225, rel=0.06)


def test_a_slow_shard_is_used_more_by_the_same_load() -> None:
    cluster = Cluster("a")
    cluster.run(10, per_s=200)
    before = cluster.performance.cluster()
    cluster.report("a", model_load(images=2000, slowness=2.0))
    after = cluster.performance.cluster()
    assert after.utilisation == pytest.approx(2 * before.utilisation)
    assert after.capacity_images_per_s == pytest.approx(before.capacity_images_per_s / 2)


def test_rates_end_when_the_load_does_though_nobody_reports() -> None:
    cluster = Cluster("a")
    cluster.run(10, per_s=200)
    cluster.now += 30
    shown = cluster.performance.cluster()
    assert shown.images_per_s == 0
    assert shown.models[0].asked_images_per_s == 0
    assert cluster.performance.shard("a") is not None


def test_refused_requests_ask_for_shards_at_once_and_let_go_of_them_late() -> None:
    cluster = Cluster("a", "b")
    cluster.run(10, per_s=int(0.7 * FULL_PER_S))
    assert cluster.performance.cluster().desired_shards == 2
    cluster.run(12, per_s=int(0.95 * FULL_PER_S), refused_per_s=int(0.7 * FULL_PER_S))
    shown = cluster.performance.cluster()
    assert shown.desired_shards == 4
    assert shown.models[0].refused_images_per_s == pytest.approx(0.7 * FULL_PER_S, rel=0.06)
    cluster.now += STABLE_S - 1
    assert cluster.performance.cluster().desired_shards == 4
    assert cluster.performance.moves  # it is to be shown when fewer are wanted
    cluster.now += 20
    assert cluster.performance.cluster().desired_shards == 1
    cluster.performance.cluster()
    assert not cluster.performance.moves


def test_two_models_share_a_shard() -> None:
    cluster = Cluster("a")
    cluster.report("a", model_load(), model_load(DOGS, image_us=3000))
    start = cluster.now
    for step in range(1, 21):
        cluster.now = start + step
        cluster.report(
            "a", model_load(images=100 * step), model_load(DOGS, 100 * step, image_us=3000)
        )
    shown = cluster.performance.cluster()
    cats, dogs = shown.models
    used = 100 * (A_US / BATCH + C_US + A_US / BATCH + 3000) / 1e6
    assert shown.utilisation == pytest.approx(used)
    assert cats.headroom_images_per_s == pytest.approx((1 - used) * cats.capacity_images_per_s)
    assert dogs.capacity_images_per_s < cats.capacity_images_per_s
    assert shown.capacity_images_per_s == pytest.approx(200 / used)


def test_what_cannot_be_reached_or_has_left_does_not_count() -> None:
    cluster = Cluster("a", "b")
    cluster.reachable.remove("b")
    assert cluster.performance.cluster().shards == 1
    assert cluster.performance.shard("b") is not None
    cluster.performance.shards_are(["a"])
    assert cluster.performance.shard("b") is None
    cluster.reachable.clear()
    shown = cluster.performance.cluster()
    assert (shown.shards, shown.capacity_images_per_s, shown.headroom_images_per_s) == (0, 0, 0)
    assert shown.desired_shards == 1


def test_another_scheduler_counts_anew() -> None:
    cluster = Cluster("a")
    cluster.queue(asked=1_000_000, refused=1_000_000, waiting=5)
    assert cluster.performance.cluster().models[0].refused_images_per_s == 0
    cluster.performance.queues_are([])
    assert cluster.performance.cluster().waiting_images == 0
    cluster.now += 5
    cluster.queue(asked=10, refused=0)
    assert cluster.performance.cluster().models[0].asked_images_per_s == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.floats(0.1, 1e5), st.floats(0.1, 1e5)),
        min_size=1,
        max_size=6,
    )
)
def test_the_parts_add_up(shards: list[tuple[int, float, float]]) -> None:
    cluster = Cluster(*(str(number) for number in range(len(shards))))
    for step in range(1, 12):
        cluster.now += 1
        for number, (per_s, batch_us, image_us) in enumerate(shards):
            report = model_load(images=per_s * step, batch_us=batch_us, image_us=image_us)
            cluster.report(str(number), report)
    shown = cluster.performance.cluster()
    parts = [cluster.performance.shard(str(number)) for number in range(len(shards))]
    assert shown.images_per_s == pytest.approx(sum(per_s for per_s, _, _ in shards))
    assert shown.images_per_s == pytest.approx(sum(part.images_per_s for part in parts if part))
    assert shown.capacity_images_per_s == pytest.approx(
        sum(part.capacity_images_per_s for part in parts if part)
    )
    assert 0 <= shown.headroom_images_per_s <= shown.capacity_images_per_s * 1.000001
    (model,) = shown.models
    assert model.headroom_images_per_s == pytest.approx(shown.headroom_images_per_s)
