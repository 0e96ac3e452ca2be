"""What a training was like, epoch by epoch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One pass over the training pictures."""

    epoch: int
    """From 1."""
    loss: float
    """Mean cross-entropy over the training pictures while they were learned, nats."""
    accuracy: float
    """Share of the training pictures that were recognised before they were learned."""
    seconds: float
    images_per_s: float
