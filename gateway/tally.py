"""How many requests this gateway has in hand, and what became of the others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from facet.cluster.v1 import cluster_pb2
from services.common.errors import FacetError

UNEXPECTED: Final = "INTERNAL"


class Tally:
    """Requests of all clients. Not thread-safe."""

    def __init__(self) -> None:
        self.in_hand = 0
        self.answered = 0
        self.failed: Counter[str] = Counter()
        """By the reason of their error; what its caller cancelled is counted nowhere."""

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count what is answered in the block."""
        self.in_hand += 1
        try:
            yield
            self.answered += 1
        except Exception as error:
            self.failed[error.reason if isinstance(error, FacetError) else UNEXPECTED] += 1
            raise
        finally:
            self.in_hand -= 1

    def message(self) -> cluster_pb2.Requests:
        """Return the numbers at this moment."""
        return cluster_pb2.Requests(
            in_hand=self.in_hand, answered=self.answered, failed=self.failed
        )
