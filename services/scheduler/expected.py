"""Requests whose pictures are still being prepared: admitted, and on their way to the queue."""

from collections import Counter
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple

from facet.type.v1 import request_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import CostModel, Ran
from services.scheduler.descriptors import Promise


class RequestKey(NamedTuple):
    """A request, by its dispatcher and that dispatcher's number for it."""

    dispatcher: str
    request_id: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What is to come."""

    key: RequestKey
    model: ModelKey
    images: int
    deadline: float
    """Seconds on the scheduler's clock."""
    tenant: str = ""
    confirm: bool = False
    """Its dispatcher waits to hear that it was admitted."""
    context: request_pb2.RequestContext | None = None
    """As its caller knows it."""


class _Way:
    """What is on its way to the queue of one model."""

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()
        """By tenant."""
        self.costs = CostModel()
        """Seconds until so many images, a request's own and all that were ahead, are prepared."""


class Expectations:
    """Images that are to come, and how long that takes. Not thread-safe.

    Nobody tells the scheduler how many decoders there are and what else their machines do. It
    sees how long requests take that find so many images ahead of them, and fits that as it fits
    the batches of a shard.
    """

    def __init__(self) -> None:
        self._requests: dict[RequestKey, tuple[Expected, int, Promise]] = {}
        """With the images that are to be prepared until it is, and what was predicted then."""
        self._ways: dict[ModelKey, _Way] = {}

    def __bool__(self) -> bool:
        return bool(self._requests)

    def add(self, expected: Expected, promise: Promise) -> None:
        """Expect a request from now on; one that is expected already is replaced."""
        self.discard(expected.key, promise.since)
        way = self._ways.setdefault(expected.model, _Way())
        way.images[expected.tenant] += expected.images
        self._requests[expected.key] = (expected, way.images.total(), promise)

    def discard(self, key: RequestKey, now: float, *, prepared: bool = False) -> Promise | None:
        """It has come, or never will; return what was predicted, None when it is not expected."""
        if (entry := self._requests.pop(key, None)) is None:
            return None
        expected, images, promise = entry
        way = self._ways[expected.model]
        way.images[expected.tenant] -= expected.images
        if not way.images[expected.tenant]:
            del way.images[expected.tenant]
        if prepared or now >= expected.deadline:  # otherwise it says nothing: it was given up
            way.costs.observe(Ran(images, now - promise.since))
        return promise

    def discard_of(self, dispatcher: str, now: float) -> None:
        """The dispatcher has gone."""
        for key in [key for key in self._requests if key.dispatcher == dispatcher]:
            self.discard(key, now)

    def expire(self, now: float) -> None:
        """Forget requests whose deadline has passed."""
        late = [each.key for each, _, _ in self._requests.values() if each.deadline <= now]
        for key in late:
            self.discard(key, now)

    def prepared_in(self, model: ModelKey, images: int) -> float:
        """Return the predicted seconds until so many more images are prepared; 0: nobody knows."""
        way = self._ways.get(model)
        return way.costs.cost.seconds(way.images.total() + images) if way else 0.0

    @property
    def models(self) -> AbstractSet[ModelKey]:
        """Models that something is or was to come for."""
        return self._ways.keys()

    def images(self, model: ModelKey) -> Counter[str]:
        """Return the images to come for a model, by tenant; not to be changed."""
        way = self._ways.get(model)
        return way.images if way else _NONE


_NONE: Counter[str] = Counter()
