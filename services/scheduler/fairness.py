"""The queue of one model: earliest deadline first inside deficit round robin over tenants.

Deficit round robin (Shreedhar and Varghese, 1995), counted in images: each tenant with waiting
pieces gets QUANTUM images of credit a round, and its next piece leaves when its credit covers
it. So two tenants that both have pieces waiting are served the same number of images, to within
a quantum and a piece each, whatever one of them sends. A tenant that has nothing waiting keeps
no credit. Alone, a tenant is not charged.
"""

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Final

from services.scheduler.descriptors import Piece

QUANTUM: Final = 16
"""Images of credit a round: two pieces of the usual size."""

_Entry = tuple[float, int, Piece]


@dataclass(slots=True, eq=False)
class _Flow:
    """The waiting pieces of one tenant."""

    tenant: str
    entries: list[_Entry] = field(default_factory=list)
    """By deadline, then arrival, which differs for any two pieces."""
    images: int = 0
    credit: int = QUANTUM

    def first_due(self, due: float) -> int:
        """Index of the first piece whose deadline is `due` or later."""
        return bisect_left(self.entries, (due,))


class FairQueue:
    """Pieces of one model that wait for a lease. Not thread-safe.

    Finding a piece costs O(log n); a sorted list beats heaps here because a slow shard needs
    the first piece that it can still finish in time, wherever that is in the order.
    """

    def __init__(self) -> None:
        self.images = 0
        """Images of all waiting pieces."""
        self._flows: dict[str, _Flow] = {}
        self._ring: deque[_Flow] = deque()

    def __bool__(self) -> bool:
        return bool(self._flows)

    def images_of(self, tenant: str) -> int:
        """Images of one tenant's waiting pieces."""
        flow = self._flows.get(tenant)
        return flow.images if flow else 0

    @property
    def tenants(self) -> AbstractSet[str]:
        """Tenants that have pieces waiting."""
        return self._flows.keys()

    def first_due(self, due: float) -> float | None:
        """The earliest deadline of a piece, whose ever it is, that is `due` or later."""
        first: float | None = None
        for flow in self._ring:
            entries = flow.entries
            if entries[-1][0] >= due:
                found = entries[0][0] if entries[0][0] >= due else entries[flow.first_due(due)][0]
                if first is None or found < first:
                    first = found
        return first

    def put(self, piece: Piece) -> None:
        """Queue a piece that is not queued."""
        flow = self._flows.get(piece.tenant)
        if flow is None:
            flow = self._flows[piece.tenant] = _Flow(piece.tenant)
            self._ring.append(flow)
        insort(flow.entries, (piece.deadline, piece.arrival, piece))
        piece.queued = True
        flow.images += piece.images
        self.images += piece.images

    def discard(self, piece: Piece) -> None:
        """Take out a piece that is queued."""
        flow = self._flows[piece.tenant]
        self._remove(flow, bisect_left(flow.entries, (piece.deadline, piece.arrival)))

    def take(
        self,
        target: float,
        limit: int,
        fits: Callable[[Piece], bool],
        due: float = -math.inf,
    ) -> list[Piece]:
        """Take out pieces for one batch, in the order of the queue.

        Pieces whose deadline is before `due`, and those that `fits` refuses, stay; their tenant
        is not charged for them. The first piece is taken whatever its size. Further ones come
        along as long as they bring the batch closer to `target` images and not above `limit`.
        """
        taken: list[Piece] = []
        images = 0
        dry = 0
        while dry < len(self._ring):
            flow = self._ring[0]
            shared = len(self._ring) > 1
            at = flow.first_due(due)
            before = len(taken)
            while at < len(flow.entries):
                piece = flow.entries[at][2]
                size = piece.images
                if not fits(piece):
                    at += 1
                    continue
                if taken and (images + size > limit or images + size / 2 > target):
                    return taken
                if shared:
                    if flow.credit < size:
                        break
                    flow.credit -= size
                self._remove(flow, at)
                taken.append(piece)
                images += size
            if at < len(flow.entries):  # its credit is used up
                flow.credit += QUANTUM
                dry = 0
            elif len(taken) == before:
                dry += 1
            if self._ring and self._ring[0] is flow:
                self._ring.rotate(-1)
        return taken

    def _remove(self, flow: _Flow, at: int) -> None:
        piece = flow.entries.pop(at)[2]
        piece.queued = False
        flow.images -= piece.images
        self.images -= piece.images
        if not flow.entries:
            del self._flows[flow.tenant]
            self._ring.remove(flow)
