"""Images a second, with bursts: a token bucket. Pure."""


class Bucket:
    """Fills by `rate` images a second up to `burst`, and starts full.

    A request takes its images at once or not at all. One that is larger than `burst` gets through
    when the bucket is full, and leaves a debt: it is paid off before anything else gets through.
    So over any time the images are at most `burst`, `rate` times the seconds, and what the last
    request had beyond.
    """

    def __init__(self, rate: float, burst: float, now: float) -> None:
        """`now`: seconds of a clock that never goes back, the same for every call."""
        self._rate = rate
        self._burst = burst
        self._level = burst
        self._at = now

    def take(self, images: int, now: float) -> float:
        """Take that many and return 0; or take none and return the seconds until it may go."""
        self._fill(now)
        lacking = min(images, self._burst) - self._level
        if lacking > 0:
            return lacking / self._rate
        self._level -= images
        return 0.0

    def give_back(self, images: int, now: float) -> None:
        """What was taken for these came to nothing."""
        self._level += images
        self._fill(now)

    def change(self, rate: float, burst: float, now: float) -> None:
        """Go on with other bounds; what was taken stays taken."""
        self._fill(now)
        self._level += burst - self._burst
        self._rate, self._burst = rate, burst

    def full(self, now: float) -> bool:
        """Tell whether nothing is left of what was ever taken, but for rounding."""
        self._fill(now)
        return self._level > self._burst - 1e-6

    def _fill(self, now: float) -> None:
        self._level = min(self._burst, self._level + (now - self._at) * self._rate)
        self._at = now
