"""Water-filling: up to which moment must all shards work, so that the queue is absorbed?

Shard j is free at `start[j]` (its predicted end plus the fixed cost of a batch). From then on it
takes `c[j]` seconds an image up to a full batch of `limit[j]` images, and `full[j]` seconds an
image (a/limit + c) in the full batches that follow. The level is the moment L with

    sum over j of absorbed_j(L)  =  queued

where absorbed_j(L) is 0 up to start[j], grows by 1/c[j] up to limit[j], then by 1/full[j].

Filled to L, all shards end together, which no other split of the queue ends before; and a shard
that would only begin after L gets nothing: the others are done by then.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEW: Final = 8
"""For so many shards a loop takes less time than numpy's calls."""


class Level(NamedTuple):
    """The level, and how it reacts."""

    at: float
    """Seconds on the clock of `start`."""
    slope: float
    """Images that all shards absorb a second around the level."""


def level(start: Floats, c: Floats, limit: Floats, full: Floats, queued: float) -> Level:
    """Return the level for `queued` images (more than 0).

    `start` (seconds), `c` (seconds an image, above 0), `limit` (images, above 0) and `full`
    (seconds an image, no less than `c`) have the same shape (n,), n above 0. O(n log n).
    """
    if len(start) <= FEW:
        return _level_of_few(start, c, limit, full, queued)
    # Absorbed images are a piecewise linear function of the level: each shard bends it twice.
    bends = np.concatenate((start, start + c * limit))
    first = 1 / c
    order = bends.argsort(kind="stable")
    slopes = np.concatenate((first, 1 / full - first))[order].cumsum()
    bends = bends[order]
    absorbed = np.zeros(len(bends))
    (slopes[:-1] * np.diff(bends)).cumsum(out=absorbed[1:])
    index = int(absorbed.searchsorted(queued)) - 1
    slope = slopes.item(index)
    return Level(bends.item(index) + (queued - absorbed.item(index)) / slope, slope)


def _level_of_few(start: Floats, c: Floats, limit: Floats, full: Floats, queued: float) -> Level:
    bends: list[tuple[float, float]] = []
    columns = (start.tolist(), c.tolist(), limit.tolist(), full.tolist())
    for first, image_s, images, full_image_s in zip(*columns, strict=True):
        bends.append((first, 1 / image_s))
        bends.append((first + image_s * images, 1 / full_image_s - 1 / image_s))
    bends.sort()
    at = absorbed = slope = 0.0
    for bend, change in bends:
        more = absorbed + slope * (bend - at)
        if more >= queued:
            break
        at, absorbed, slope = bend, more, slope + change
    return Level(at + (queued - absorbed) / slope, slope)
