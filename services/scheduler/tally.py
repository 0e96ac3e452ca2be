"""What the scheduler has done so far, for people to look at. Pure; nothing is decided by it."""

from collections import Counter
from typing import Final

from services.common.metrics.counts import IMAGES, RATIOS, Histogram
from services.scheduler.descriptors import Grant, Promise, Refusal, Why

SHORTEST_S: Final = 0.01
"""Of a shorter prediction, took / predicted says nothing: the way itself takes as long."""


class Tally:
    """Counts since the process started. Not thread-safe."""

    def __init__(self) -> None:
        self.admitted = 0
        """Requests."""
        self.refused: Counter[Why] = Counter(dict.fromkeys(Why, 0))
        """Requests, by reason."""
        self.pieces = 0
        """Pieces that were put into the queue."""
        self.grants = 0
        self.hedges = 0
        """Those of the grants that lease pieces a second time."""
        self.grant_images = Histogram(IMAGES)
        """Images of a grant."""
        self.request_ratio = Histogram(RATIOS)
        """Took / predicted, of requests."""
        self.batch_ratio = Histogram(RATIOS)
        """Took / predicted, of batches on their device."""

    def asked(self, refusal: Refusal | None) -> None:
        """A request was admitted, or refused."""
        if refusal is None:
            self.admitted += 1
        else:
            self.refused[refusal.why] += 1

    def granted(self, grant: Grant) -> None:
        """Pieces were leased."""
        self.grants += 1
        self.hedges += grant.hedge
        self.grant_images.observe(grant.images)

    def kept(self, promise: Promise, now: float) -> None:
        """A request was answered, or its deadline passed."""
        if promise.predicted_s >= SHORTEST_S:
            self.request_ratio.observe((now - promise.since) / promise.predicted_s)
