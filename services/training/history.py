"""What is remembered of each epoch of a training."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch: every training picture was seen once."""

    epoch: int
    """From 1."""
    loss: float
    """Mean cross-entropy over the epoch's training pictures, nats, each before its step."""
    accuracy: float
    """Share of them that was recognised, each before its step."""
    seconds: float
    """How long it took."""
    images_per_s: float
    """Training pictures a second."""
