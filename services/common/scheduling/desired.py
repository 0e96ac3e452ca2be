"""How many shards the present demand needs: a recommendation for whoever adds and removes them.

The rule is that of Kubernetes' HorizontalPodAutoscaler, on full-batch utilisation
(utilisation.py): demand / TARGET, unless that is within TOLERANCE of what is there. More are
asked for at once, fewer only when all of the last STABLE_S would have done with fewer: a shard
takes seconds to load its models, and one that is missing costs answers.
"""

import math
from collections import deque
from typing import Final

TARGET: Final = 0.7
"""Utilisation that shards are to have; above it queues grow fast."""
TOLERANCE: Final = 0.1
"""Demand may be so far from the target, as a share of it, without a change."""
MOST: Final = 2
"""No more than so many times the present shards: callers that are refused ask again, and are
counted each time."""
STABLE_S: Final = 300.0


def needed_shards(demand: float, present: int) -> int:
    """Return how many shards are to be there; at least one.

    `demand` is the sum of their utilisations, as far as they could take what is asked for: 1 is
    what one shard of the present kind does in full batches.
    """
    if present == 0:
        return 1
    if abs(demand / (TARGET * present) - 1) <= TOLERANCE:
        return present
    return min(max(1, math.ceil(demand / TARGET)), MOST * present)


class Desired:
    """Recommendations that fall late. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self._recent: deque[tuple[float, int]] = deque()
        """When each was needed last, and how many; times rise and numbers fall."""

    def note(self, needed: int, now: float) -> None:
        """Take in how many would do at this moment."""
        self._forget(now)
        while self._recent and self._recent[-1][1] <= needed:
            self._recent.pop()
        self._recent.append((now, needed))

    def shards(self, now: float) -> int:
        """Return how many are to be there: as many as any of the last STABLE_S needed."""
        self._forget(now)
        return self._recent[0][1] if self._recent else 1

    def _forget(self, now: float) -> None:
        # The last one holds until there is another.
        while len(self._recent) > 1 and self._recent[0][0] <= now - STABLE_S:
            self._recent.popleft()
