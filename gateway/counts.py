"""What came of the requests, counted as each ends."""

import time
from typing import Final

from facet.cluster.v1 import cluster_pb2
from facet.recognition.v1 import recognition_pb2
from services.common.errors import FacetError, OverloadedError
from services.common.metrics.counts import IMAGES, Histograms, Tally

REFUSED: Final = "refused"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"


class RequestCounts:
    """Requests by outcome, errors by reason, pictures and time by model."""

    def __init__(self) -> None:
        self.in_hand = 0
        """Requests that have no answer yet."""
        self.answers = 0
        """Requests that were answered."""
        self.others = Tally(REFUSED, FAILED, CANCELLED)
        """Requests that were not, by outcome."""
        self.errors = Tally("OVERLOADED", "DEADLINE_EXCEEDED", "INTERNAL")
        """By the reason in google.rpc.ErrorInfo: words of our own."""
        self.images = Histograms(IMAGES)
        """Pictures of an answer, by model and version, those included that have an error."""
        self.seconds = Histograms()
        """From a request to its answer, by model and version."""

    def answered(self, response: recognition_pb2.RecognizeResponse, since: float) -> None:
        """A request that came at `since` (time.perf_counter) has its answer."""
        model = response.model
        key = (model.name, model.version)
        self.answers += 1
        self.images.of(key).observe(len(response.results))
        self.seconds.of(key).observe(time.perf_counter() - since)

    def failed(self, error: FacetError) -> None:
        """A request as a whole was refused or failed."""
        self.others.add(REFUSED if isinstance(error, OverloadedError) else FAILED)
        self.errors.add(error.reason)

    def cancelled(self) -> None:
        """Nobody waits for the answer any more."""
        self.others.add(CANCELLED)

    def message(self) -> cluster_pb2.Requests:
        """Return the numbers of requests at this moment; zeroes of errors are left out."""
        return cluster_pb2.Requests(
            in_hand=self.in_hand,
            answered=self.answers,
            failed={str(reason): count for (reason,), count in self.errors.items() if count},
        )
