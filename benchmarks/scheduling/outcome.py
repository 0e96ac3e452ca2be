"""What became of the requests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scheduling.workload import Request


@dataclass(frozen=True, slots=True)
class Outcome:
    """The figures of one run; times in milliseconds, shares of 1."""

    requests: int
    p50_ms: float
    p99_ms: float
    """Over answered requests. Those that were refused or never answered are not in it."""
    in_slo: float
    """Share of all requests that were answered in time."""
    refused: float
    """Share of all requests that were refused on arrival."""
    goodput: float
    """Images of requests answered in time, as a share of what the cluster could have run."""
    useful: float
    """Images of requests answered in time, as a share of all images that were run."""
    quiet_in_slo: float
    """`in_slo` of the tenant named quiet; 1 where there is none."""


class Tracker:
    """Follows each request from its arrival to its last answer."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self.ran_images = 0
        """Images that devices have run, also for nothing."""
        self._requests = requests
        self._left = {request.number: request.images for request in requests}
        self._latency: dict[int, float] = {}
        self._refused: set[int] = set()

    def ran(self, images: int) -> None:
        """A device ran so many images."""
        self.ran_images += images

    def answered(self, request: Request, images: int, now: float) -> bool:
        """Count answered images; return whether the request is complete now."""
        self._left[request.number] -= images
        if self._left[request.number] == 0:
            self._latency[request.number] = now - request.arrival
            return True
        return False

    def refused(self, request: Request) -> None:
        """The request was refused on arrival."""
        self._refused.add(request.number)

    def complete(self, request: Request) -> bool:
        """All images of the request were answered."""
        return request.number in self._latency

    def outcome(self, capacity_images: float) -> Outcome:
        """Sum up; `capacity_images` is what the cluster could have run in full batches."""
        count = max(1, len(self._requests))
        latencies = sorted(self._latency.values())
        offered = sum(request.images for request in self._requests)
        good = sum(request.images for request in self._requests if self._in_time(request))
        quiet = [request for request in self._requests if request.tenant == "quiet"]
        return Outcome(
            requests=len(self._requests),
            p50_ms=1000 * _quantile(latencies, 0.5),
            p99_ms=1000 * _quantile(latencies, 0.99),
            in_slo=self._in_slo(self._requests),
            refused=len(self._refused) / count,
            goodput=good / max(1.0, min(offered, capacity_images)),
            useful=good / max(1, self.ran_images),
            quiet_in_slo=self._in_slo(quiet),
        )

    def _in_slo(self, requests: Sequence[Request]) -> float:
        return sum(map(self._in_time, requests)) / len(requests) if requests else 1.0

    def _in_time(self, request: Request) -> bool:
        latency = self._latency.get(request.number, math.inf)
        return latency <= request.deadline - request.arrival


def _quantile(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0
