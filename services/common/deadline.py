"""The point in time by which a caller wants its answer, as a value that is passed along."""

import time
from typing import NamedTuple, Self

from services.common.errors import DeadlineExceededError


class Deadline(NamedTuple):
    """A point on this process's monotonic clock, in seconds.

    Between processes only what is left travels (`remaining_ms`): clocks differ.
    """

    at: float

    @classmethod
    def after(cls, seconds: float) -> Self:
        """Return the deadline that lies that many seconds ahead."""
        return cls(time.monotonic() + seconds)

    @classmethod
    def after_ms(cls, milliseconds: int) -> Self:
        """Return the deadline that lies that many milliseconds ahead."""
        return cls.after(milliseconds / 1000)

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - time.monotonic())

    @property
    def remaining_ms(self) -> int:
        """Whole milliseconds left, never negative."""
        return int(self.remaining_s * 1000)

    @property
    def expired(self) -> bool:
        """No time is left."""
        return self.at <= time.monotonic()

    def check(self, stage: str) -> None:
        """Raise DeadlineExceededError, naming the stage, when no time is left."""
        if self.expired:
            raise DeadlineExceededError(f"the deadline passed before {stage}")
