"""What the cluster does, what it could do, and how many shards it should have.

Shards report counters and the fit of each version (services/inference/load_message.py), the
scheduler what waits and what was asked for. Both reach every gateway by streams that it has open
anyway; rates are made of them here (shard_performance.py). Pure but for the clock that it is given.
"""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple

from facet.cluster.v1 import cluster_pb2
from facet.scheduler.v1 import scheduler_pb2
from gateway.shard_performance import ShardRecord
from services.common.models.key import ModelKey
from services.common.scheduling.desired import Desired, needed_shards
from services.common.scheduling.rates import Rates
from services.common.scheduling.utilisation import IDLE, Share, headroom, mixed_capacity

_Shares = dict[ModelKey, Share]

NOTED_S: Final = 1.0
"""How often the needed shards are looked at while shards report, whoever asks or does not."""


class _Flow(NamedTuple):
    """Images a second that callers want of one version."""

    asked: float = 0.0
    refused: float = 0.0


class Performance:
    """All shards and queues as one gateway hears of them. Not thread-safe."""

    def __init__(
        self,
        reachable: Callable[[], Collection[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reachable` returns the shards that can be; `clock` seconds, and never goes back."""
        self._reachable = reachable
        self._clock = clock
        self.moves = False
        """Time alone changes what `cluster` returned last: of late something ran or was wanted."""
        self._shards: dict[str, ShardRecord] = {}
        self._queues: dict[ModelKey, scheduler_pb2.ModelQueue] = {}
        self._demand: Rates[tuple[str, ModelKey]] = Rates()
        self._desired = Desired()
        self._noted = -math.inf

    def shard_reported(self, shard: str, load: cluster_pb2.ShardLoad) -> None:
        """Take in what a shard says of its load."""
        record = self._shards.get(shard)
        if record is None:
            record = self._shards[shard] = ShardRecord()
        now = self._clock()
        record.reported(load, now)
        if now - self._noted >= NOTED_S:
            self._note(self._shares(now), self._flows(now), now)

    def shards_are(self, shards: Collection[str]) -> None:
        """Forget shards that are no longer members."""
        for shard in self._shards.keys() - set(shards):
            del self._shards[shard]

    def queues_are(self, queues: Sequence[scheduler_pb2.ModelQueue]) -> None:
        """Take in what the scheduler says of what waits; nothing when another one leads."""
        if not queues:
            self._queues, self._demand = {}, Rates()
            return
        self._queues = {ModelKey.from_message(queue.model): queue for queue in queues}
        counters: dict[tuple[str, ModelKey], float] = {}
        for key, queue in self._queues.items():
            counters["asked", key] = queue.asked_images
            counters["refused", key] = queue.refused_images
        self._demand.told(counters, self._clock())

    def shard(self, shard: str) -> cluster_pb2.ShardPerformance | None:
        """Return what is shown of a shard; None where it has not reported."""
        record = self._shards.get(shard)
        return record.message(self._clock()) if record else None

    def desired_shards(self) -> int:
        """Return how many shards of the present kind the demand of late needs."""
        return self._desired.shards(self._clock())

    def cluster(self) -> cluster_pb2.Performance:
        """Return what is shown of the cluster: its shards that can be reached, and what waits."""
        now = self._clock()
        shards, flows = self._shares(now), self._flows(now)
        used = [sum(share.utilisation for share in shares.values()) for shares in shards]
        could = [mixed_capacity(shares.values()) for shares in shards]
        needed, desired = self._note(shards, flows, now), self._desired.shards(now)
        images_per_s = sum(share.images_per_s for shares in shards for share in shares.values())
        asked_per_s = sum(flow.asked for flow in flows.values())
        self.moves = max(images_per_s, asked_per_s) > IDLE or needed != desired
        return cluster_pb2.Performance(
            images_per_s=images_per_s,
            capacity_images_per_s=sum(could),
            headroom_images_per_s=sum(map(headroom, used, could)),
            utilisation=sum(used) / len(used) if used else 0.0,
            waiting_images=sum(queue.waiting_images for queue in self._queues.values()),
            shards=len(shards),
            desired_shards=desired,
            models=self._models(shards, used, flows),
        )

    def _shares(self, now: float) -> list[_Shares]:
        """What the shards that can be reached do, in no order."""
        reachable = [self._shards.get(shard) for shard in self._reachable()]
        return [record.shares(now) for record in reachable if record is not None]

    def _note(self, shards: Sequence[_Shares], flows: Mapping[ModelKey, _Flow], now: float) -> int:
        """Remember how many shards are needed now, and return it."""
        needed = needed_shards(_demand(shards, flows), len(shards))
        self._desired.note(needed, now)
        self._noted = now
        return needed

    def _models(
        self, shards: Sequence[_Shares], used: Sequence[float], flows: Mapping[ModelKey, _Flow]
    ) -> list[cluster_pb2.ModelPerformance]:
        served: defaultdict[ModelKey, list[tuple[Share, float]]] = defaultdict(list)
        for shares, share_used in zip(shards, used, strict=True):
            for key, share in shares.items():
                served[key].append((share, headroom(share_used, share.capacity)))
        nothing = scheduler_pb2.ModelQueue()
        models = []
        for key in sorted(served.keys() | self._queues.keys()):
            queue, flow = self._queues.get(key, nothing), flows.get(key, _Flow())
            models.append(
                cluster_pb2.ModelPerformance(
                    model=key.to_message(),
                    shards=len(served[key]),
                    images_per_s=sum(share.images_per_s for share, _ in served[key]),
                    capacity_images_per_s=sum(share.capacity for share, _ in served[key]),
                    headroom_images_per_s=sum(room for _, room in served[key]),
                    waiting_images=queue.waiting_images,
                    wait_us=queue.wait_us,
                    asked_images_per_s=flow.asked,
                    refused_images_per_s=flow.refused,
                )
            )
        return models

    def _flows(self, now: float) -> dict[ModelKey, _Flow]:
        rates = self._demand.per_s(now)
        return {key: _Flow(rates["asked", key], rates["refused", key]) for key in self._queues}


def _demand(shards: Sequence[_Shares], flows: Mapping[ModelKey, _Flow]) -> float:
    """Return how many shards' worth of full batches is wanted: what runs, and what is refused.

    What waits is not refused and will run: it counts then.
    """
    wanted = sum(share.utilisation for shares in shards for share in shares.values())
    for key, flow in flows.items():
        able = [shares[key].capacity for shares in shards if key in shares]
        if able:
            wanted += flow.refused * len(able) / sum(able)
    return wanted
