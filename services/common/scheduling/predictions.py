"""How well the costs foretell what batches take: predicted against real, batch by batch."""

from typing import Final

RECENT: Final = 50
"""Means are of so many batches or so; as many as the fit remembers (costs.py)."""


class Predictions:
    """The batches of one model on one shard. Not thread-safe."""

    __slots__ = ("batches", "bias", "error", "images", "predicted_s", "seconds")

    def __init__(self) -> None:
        self.batches = 0
        self.images = 0
        self.seconds = 0.0
        """What all batches took."""
        self.predicted_s = 0.0
        """What was foretold of them."""
        self.error = 0.0
        """The mean of |predicted - real| / real of the recent ones."""
        self.bias = 0.0
        """The same with its sign: above 0 where less was needed than foretold."""

    def ran(self, images: int, predicted_s: float, seconds: float) -> None:
        """Count a batch; one that took no time tells nothing of the error."""
        self.batches += 1
        self.images += images
        self.seconds += seconds
        self.predicted_s += predicted_s
        if seconds > 0:
            off = (predicted_s - seconds) / seconds
            gain = 1 / min(self.batches, RECENT)
            self.error += gain * (abs(off) - self.error)
            self.bias += gain * (off - self.bias)
