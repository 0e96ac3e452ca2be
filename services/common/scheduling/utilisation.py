"""How much of what shards could do in full batches they do: the formulas that all share.

A batch of b images takes a + c·b seconds (costs.py), so an image costs least in the largest batch
of B images: a/B + c seconds. Utilisation is images a second x that. It is linear in the load,
which the share of time that a device is busy is not: batches of one keep a device busy all the
time at a fraction of what it could do, and are the first thing to end when more comes.

Costs are those of the moment here (`CostModel.cost`, slowness included): a shard that has become
slow is used more by the same load.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from services.common.scheduling.costs import Cost

IDLE: Final = 1e-9
"""Images a second below which nothing is said to run."""


def full_batch_s(cost: Cost, max_batch: int) -> float:
    """Return the seconds that an image takes in a batch of `max_batch` images."""
    return cost.a / max_batch + cost.c


def capacity(cost: Cost, max_batch: int) -> float:
    """Return the images a second that a shard could do if it ran nothing else."""
    return 1 / full_batch_s(cost, max_batch)


def utilisation(images_per_s: float, cost: Cost, max_batch: int) -> float:
    """Return the share of its full-batch capacity that a shard uses: 0 to about 1."""
    return images_per_s * full_batch_s(cost, max_batch)


class Share(NamedTuple):
    """One model's part in what a shard does."""

    images_per_s: float
    capacity: float
    """Images a second if the shard ran nothing else."""

    @property
    def utilisation(self) -> float:
        """The part of the shard that it takes."""
        return self.images_per_s / self.capacity


def mixed_capacity(shares: Iterable[Share]) -> float:
    """Return the images a second that a shard could do in the present mix of its models.

    Where nothing runs, all models count alike; 0 without any.
    """
    shares = list(shares)
    if not shares:
        return 0.0
    images = sum(share.images_per_s for share in shares)
    if images > IDLE:
        return images / sum(share.utilisation for share in shares)
    return len(shares) / sum(1 / share.capacity for share in shares)


def headroom(share: float, capacity: float) -> float:
    """Return the images a second that fit besides what takes `share` of a shard already."""
    return max(0.0, 1 - share) * capacity
