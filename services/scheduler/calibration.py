"""By how much predictions of waiting are too short.

A prediction knows devices and queues. It does not know what lies between and behind them: gaps
between batches, answers on their way, processors that decoders and shards share. Where that makes
requests take a fifth longer, a queue that is let in up to seven tenths of the deadline is late as
soon as anything else goes wrong. So predictions are compared with what came of them.
"""

from typing import Final

from services.scheduler.descriptors import Promise

GAIN: Final = 0.05
"""Of one request; the last twenty or so count."""
COVERED: Final = 1.1
"""What the share of the deadline that a prediction may not use up (admission.py) is there for."""
MOST: Final = 4.0
"""More than so many times the prediction is no matter of scale."""
LEAST_S: Final = 0.2
"""Of shorter waits much is not waiting but the way itself, and says nothing about long ones: to
lengthen these by it refused requests at nine tenths of the load that could be answered in time."""


class Calibration:
    """The moving average of took / predicted. Not thread-safe."""

    def __init__(self) -> None:
        self._ratio = 1.0

    @property
    def factor(self) -> float:
        """By how much a prediction is to be lengthened; never less than 1."""
        return max(1.0, self._ratio / COVERED)

    def kept(self, promise: Promise, now: float) -> None:
        """A request was answered, or its deadline passed."""
        if promise.predicted_s >= LEAST_S:
            ratio = min((now - promise.since) / promise.predicted_s, MOST)
            self._ratio += GAIN * (ratio - self._ratio)
