"""How long a batch takes on one shard: t(b) = slowness x (a + c x b), learned from what it ran.

`a` and `c` are fitted by recursive least squares with forgetting (Ljung, System Identification,
11.2) on relative errors, so that a batch of one counts as much as a batch of 32. A single batch
that took ten times as long (a page fault, a busy neighbour) must not bend the fit: beyond the
usual error its weight falls with the square of its distance. A shard that really became slower
is followed within two batches by `slowness`, the moving average of observed / predicted, while
the fit takes the change over and `slowness` returns to 1.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

FORGETTING: Final = 0.98
"""Weight of a batch against the next one: about fifty batches are remembered."""
SLOWNESS_GAIN: Final = 0.3
NOISE: Final = 0.1
"""Relative error expected of a single batch before any was seen."""
OUTLIER: Final = 2.5
"""Errors beyond so many mean errors lose weight."""
REBASE: Final = 4.0
"""A fit that is wrong by so many times, as three batches in a row say, is scaled at once: its own
steps are sized for errors of its own scale, and would take hundreds of batches."""
LEAST_SLOWNESS: Final = 0.01
SMALLEST_S: Final = 1e-6
"""No coefficient is taken for less, so that a division by it stays finite."""


class Ran(NamedTuple):
    """One batch that a device has run: `images` as the device saw them, padding included."""

    images: int
    seconds: float


class Cost(NamedTuple):
    """Seconds a batch, and seconds an image."""

    a: float
    c: float

    def seconds(self, images: float) -> float:
        """Seconds that a batch of so many images takes."""
        return self.a + self.c * images


GUESS: Final = Cost(0.004, 0.001)
"""For a model that was never measured: soon replaced by what it really takes."""


def prior(measured: Iterable[Ran]) -> Cost:
    """Return the costs that warm-up measurements suggest: one a batch size, or several.

    Least squares on relative errors. With one batch size only, the split between `a` and `c` is
    that of GUESS.
    """
    points = [Ran(max(1, ran.images), max(ran.seconds, SMALLEST_S)) for ran in measured]
    if not points:
        return GUESS
    weights = [1 / seconds**2 for _, seconds in points]
    total = sum(weights)
    mean_b = sum(w * b for w, (b, _) in zip(weights, points, strict=True)) / total
    mean_t = sum(w * t for w, (_, t) in zip(weights, points, strict=True)) / total
    spread = sum(w * (b - mean_b) ** 2 for w, (b, _) in zip(weights, points, strict=True))
    if len({images for images, _ in points}) == 1:
        scale = mean_t / GUESS.seconds(mean_b)
        return Cost(GUESS.a * scale, GUESS.c * scale)
    slope = (
        sum(w * (b - mean_b) * (t - mean_t) for w, (b, t) in zip(weights, points, strict=True))
        / spread
    )
    c = min(max(slope, SMALLEST_S), mean_t / mean_b)
    return Cost(max(mean_t - c * mean_b, SMALLEST_S), max(c, SMALLEST_S))


class CostModel:
    """The fit for one shard and one model. Not thread-safe."""

    __slots__ = ("_cap", "_deviation", "_p", "_recent", "cost", "fit", "slowness")

    def __init__(self, start: Cost = GUESS) -> None:
        self._begin(start)

    def _begin(self, start: Cost) -> None:
        self.slowness = 1.0
        """Observed / predicted: 1 for a shard that does what its fit says."""
        self.fit = Cost(max(start.a, SMALLEST_S), max(start.c, SMALLEST_S))
        """Costs without the slowness of the moment."""
        self.cost = self.fit
        """Costs as they are now."""
        # Inverse information, in units of the noise: the start is worth one batch or so.
        self._cap = ((self.fit.seconds(8) / NOISE) ** 2, (self.fit.seconds(8) / 8 / NOISE) ** 2)
        self._p = (self._cap[0], 0.0, self._cap[1])
        self._deviation = NOISE
        self._recent: tuple[float, ...] = ()

    def observe(self, ran: Ran) -> None:
        """Learn from one batch; one without images or time teaches nothing."""
        if ran.images <= 0 or ran.seconds <= 0:
            return
        expected = self.fit.seconds(ran.images)
        ratio = ran.seconds / expected
        # The median of the last three: one outlier does not move it, a second one does.
        self._recent = (*self._recent[-2:], ratio)
        middle = sorted(self._recent)[len(self._recent) // 2]
        if len(self._recent) == 3 and not 1 / REBASE < middle < REBASE:
            self._begin(Cost(self.fit.a * middle, self.fit.c * middle))
            self.observe(ran)
            return
        step = max(middle, LEAST_SLOWNESS) - self.slowness
        self.slowness += SLOWNESS_GAIN * step if abs(step) < 0.5 * self.slowness else step
        self._update(1 / expected, ran.images / expected, ratio - 1)
        self.cost = Cost(
            max(self.fit.a * self.slowness, SMALLEST_S), max(self.fit.c * self.slowness, SMALLEST_S)
        )

    def _update(self, x0: float, x1: float, error: float) -> None:
        distance = abs(error)
        limit = OUTLIER * self._deviation
        weight = 1.0 if distance <= limit else (limit / distance) ** 2
        self._deviation += 0.05 * (min(distance, limit) - self._deviation)
        self._deviation = max(self._deviation, 0.01)
        p00, p01, p11 = self._p
        k0, k1 = p00 * x0 + p01 * x1, p01 * x0 + p11 * x1
        total = FORGETTING / weight + k0 * x0 + k1 * x1
        step = error / total
        self.fit = Cost(
            max(self.fit.a + k0 * step, SMALLEST_S), max(self.fit.c + k1 * step, SMALLEST_S)
        )
        p00, p01, p11 = p00 - k0 * k0 / total, p01 - k0 * k1 / total, p11 - k1 * k1 / total
        # Batches of one size say nothing about the other direction; to forget there what is
        # known would blow up the fit at the next small batch.
        if p00 <= self._cap[0] * FORGETTING and p11 <= self._cap[1] * FORGETTING:
            p00, p01, p11 = p00 / FORGETTING, p01 / FORGETTING, p11 / FORGETTING
        self._p = (p00, p01, p11)
