"""How much of a shard's full-batch capacity is used: what autoscaling should look at.

The share of time that a device is busy is no load: small batches keep it busy at a fraction of
what it could do. Utilisation here is images a second times the time an image takes in a full
batch, a/B + c: 1 means that more can only wait.
"""

import math
from typing import Final

WINDOW_S: Final = 10.0
"""What was run so long ago counts 1/e."""


class Usage:
    """Full-batch utilisation of one shard, over all its models."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._at = now
        self._seconds = 0.0

    def ran(self, full_batch_s: float, now: float) -> None:
        """Count a batch by the seconds that its images take at full-batch speed."""
        self._seconds = self._decayed(now) + full_batch_s
        self._at = max(now, self._at)

    def share(self, now: float) -> float:
        """Utilisation in the last WINDOW_S or so: 0 to about 1."""
        known = WINDOW_S * -math.expm1(-max(now - self._since, 1e-3) / WINDOW_S)
        return self._decayed(now) / known

    def _decayed(self, now: float) -> float:
        return self._seconds * math.exp(-max(now - self._at, 0.0) / WINDOW_S)
