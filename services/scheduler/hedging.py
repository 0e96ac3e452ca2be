"""When a piece that is leased already is leased a second time.

A shard that became slow, or hangs, keeps what it holds until its lease expires. Where another
shard idles meanwhile, it gets the same pieces, and the first answer counts. Unbudgeted, hedging
answers overload with more load and collapses the cluster; so it may use SHARE of all granted
images, saved up to BURST.
"""

from typing import Final

SHARE: Final = 0.02
BURST: Final = 64.0
"""Images: two full batches of the usual size."""
LATE_FACTOR: Final = 1.0
"""A batch is overdue when it is late by its whole predicted duration,"""
LATE_MIN_S: Final = 0.01
"""and by no less than this."""


class HedgeBudget:
    """Images that may be leased twice."""

    def __init__(self, share: float = SHARE) -> None:
        self._share = share
        self._images = 0.0

    def earn(self, granted: int) -> None:
        """Count images of an ordinary grant."""
        self._images = min(BURST, self._images + self._share * granted)

    def covers(self, images: int) -> bool:
        """The budget has so many images left; it grows by `earn` only, never with time."""
        return images <= self._images

    def spend(self, images: int) -> None:
        """Count images that are leased a second time; `covers` must have allowed them."""
        self._images -= images


def overdue_at(granted: float, finish: float) -> float:
    """Return the moment from which a batch counts as overdue, by its grant's prediction."""
    return finish + max(LATE_FACTOR * (finish - granted), LATE_MIN_S)
