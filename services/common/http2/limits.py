"""What the clients of a server may take of it together."""

from collections import Counter
from dataclasses import dataclass
from typing import Final

MAX_STREAMS: Final = 1_024
"""Calls of one connection at a time, those included that were reset and still clean up."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a server; 0 means none. A server among friends needs but the first."""

    max_streams: int = MAX_STREAMS
    """Calls of one connection at a time."""
    max_connections: int = 0
    """Connections in all."""
    max_peer_connections: int = 0
    """Connections from one address."""
    request_within_s: float = 0.0
    """Seconds in which a request must be here once it has begun to arrive."""
    max_arriving_bytes: int = 0
    """Bytes of requests that are not complete yet, of all connections together."""


class Guests:
    """Counts the connections of a server, in all and by address. Pure."""

    def __init__(self, limits: Limits) -> None:
        self._most = limits.max_connections
        self._most_of_one = limits.max_peer_connections
        self._counts: Counter[str] = Counter()
        self._all = 0

    def enter(self, address: str) -> bool:
        """Count one more connection from there; False, and nothing counted, when it is too much."""
        if self._most and self._all >= self._most:
            return False
        if self._most_of_one and self._counts[address] >= self._most_of_one:
            return False
        self._counts[address] += 1
        self._all += 1
        return True

    def leave(self, address: str) -> None:
        """One that had entered has gone."""
        self._all -= 1
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]
