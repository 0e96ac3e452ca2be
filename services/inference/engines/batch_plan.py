"""How to cut a batch into runs, from what runs of several sizes were measured to cost.

On a GPU the largest run is the cheapest an image. On a CPU it often is not: the activations of a
large batch fall out of the cache, and eight runs of 4 images can beat one of 32 by a quarter.
"""

from collections.abc import Mapping
from itertools import pairwise
from math import log2
from typing import Final

SURCHARGE: Final = 0.02
"""What a run costs beyond its measured time, in images: the call itself."""

CROWDING: Final = 0.04
"""By how much a run gets dearer with each doubling of its size, beyond what was measured: the
measurement has the caches to itself, and serving shares them with decoders and other shards.
MobileNetV2 served in runs of 4 took a fifth more CPU than in single images, though the warm-up
had measured them as equal."""


class BatchPlan:
    """The cheapest cut of any batch, by dynamic programming over the measured sizes.

    best(n) = min over sizes s of cost(s) * crowding(s) + surcharge + best(n - s), and
    best(n <= 0) = 0, where the surcharge is a share of what the cheapest image costs. Where runs
    are padded only the measured sizes are run, and the last run of a batch may be larger than
    what is left of it. Where they are exact, sizes between two measured ones are run too, at a
    cost between theirs.
    """

    def __init__(self, seconds: Mapping[int, float], *, exact: bool) -> None:
        """Take the time in seconds that a run of each measured size (images) took."""
        if not seconds or min(seconds) < 1:
            raise ValueError("a plan needs the cost of at least one size, and sizes from 1")
        self.measured = dict(seconds)
        """What it was made from."""
        costs = _between(seconds) if exact else seconds
        surcharge = SURCHARGE * min(cost / size for size, cost in seconds.items())
        self._costs = {
            size: cost * (1 + CROWDING * log2(size)) + surcharge for size, cost in costs.items()
        }
        self._exact = exact
        # Per number of images: the least cost, and the size of the first run that gives it.
        self._best: list[tuple[float, int]] = [(0.0, 0)]

    @property
    def largest(self) -> int:
        """Images in the largest run that any batch is cut into."""
        return max(self._costs)

    def largest_run(self, images: int) -> int:
        """Return the size of the largest run of any batch of up to so many images."""
        return max(self.split(count)[0] for count in range(1, images + 1))

    def seconds(self, images: int) -> float:
        """Return what a batch of at least one image is expected to take."""
        self._fill(images)
        return self._best[images][0]

    def split(self, images: int) -> tuple[int, ...]:
        """Return the sizes of the runs that a batch of at least one image is cut into.

        Their sum is the batch, or more where runs are padded: then the excess is the last run's
        padding.
        """
        self._fill(images)
        runs = []
        left = images
        while left > 0:
            size = self._best[left][1]
            runs.append(size)
            left -= size
        return tuple(sorted(runs, reverse=True))

    def _fill(self, images: int) -> None:
        while len(self._best) <= images:
            self._best.append(self._first_run(len(self._best)))

    def _first_run(self, images: int) -> tuple[float, int]:
        # Among equals the largest: fewer calls.
        return min(
            (
                (cost + self._best[max(0, images - size)][0], size)
                for size, cost in self._costs.items()
                if size <= images or not self._exact
            ),
            key=lambda choice: (choice[0], -choice[1]),
        )


def _between(seconds: Mapping[int, float]) -> dict[int, float]:
    sizes = sorted(seconds)
    costs = dict.fromkeys(range(1, sizes[0] + 1), seconds[sizes[0]])
    for low, high in pairwise(sizes):
        slope = (seconds[high] - seconds[low]) / (high - low)
        for size in range(low, high + 1):
            costs[size] = seconds[low] + slope * (size - low)
    return costs
