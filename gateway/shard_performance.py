"""What one shard does and could do, from the counters and the fit that it reports."""

from collections.abc import Iterator
from typing import NamedTuple

from facet.cluster.v1 import cluster_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import SMALLEST_S, Cost
from services.common.scheduling.rates import Rates
from services.common.scheduling.utilisation import IDLE, Share, capacity, mixed_capacity


class _Counter(NamedTuple):
    """One of the numbers that only grow."""

    what: str
    model: ModelKey | None = None
    """None: of all models together."""


class ShardRecord:
    """The reports of one shard. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._load = cluster_pb2.ShardLoad()
        self._rates: Rates[_Counter] = Rates()

    def reported(self, load: cluster_pb2.ShardLoad, now: float) -> None:
        """Take in a report."""
        self._load = load
        self._rates.told(dict(_counters(load)), now)

    def shares(self, now: float) -> dict[ModelKey, Share]:
        """Return what each loaded version has of the shard."""
        rates = self._rates.per_s(now)
        return {
            (key := ModelKey.from_message(model.model)): Share(
                rates[_Counter("images", key)], capacity(cost_of(model), model.max_batch)
            )
            for model in self._load.models
        }

    def message(self, now: float) -> cluster_pb2.ShardPerformance:
        """Return what is shown of it."""
        rates, shares = self._rates.per_s(now), self.shares(now)
        message = cluster_pb2.ShardPerformance(
            images_per_s=sum(share.images_per_s for share in shares.values()),
            capacity_images_per_s=mixed_capacity(shares.values()),
            utilisation=sum(share.utilisation for share in shares.values()),
            busy_share=min(rates.get(_Counter("device_us"), 0.0) / 1e6, 1.0),
        )
        for key, share in sorted(shares.items()):
            batches, real = (rates[_Counter(what, key)] for what in ("batches", "device_us"))
            message.models.add(
                model=key.to_message(),
                images_per_s=share.images_per_s,
                capacity_images_per_s=share.capacity,
                utilisation=share.utilisation,
                batch_images=share.images_per_s / batches if batches > IDLE else 0.0,
                predicted_to_real=rates[_Counter("predicted_us", key)] / real if real else 0.0,
            )
        return message


def cost_of(model: cluster_pb2.ModelLoad) -> Cost:
    """Return what batches of a version take on its shard at the moment, seconds."""
    scale = model.slowness / 1e6
    return Cost(max(model.batch_us * scale, SMALLEST_S), max(model.image_us * scale, SMALLEST_S))


def _counters(load: cluster_pb2.ShardLoad) -> Iterator[tuple[_Counter, float]]:
    yield _Counter("device_us"), load.device_us
    for model in load.models:
        key = ModelKey.from_message(model.model)
        yield _Counter("images", key), model.completed_images
        yield _Counter("batches", key), model.completed_batches
        yield _Counter("device_us", key), model.device_us
        yield _Counter("predicted_us", key), model.predicted_us
