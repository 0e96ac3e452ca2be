"""When a new request would have been run, and whether that is in time.

What the queues, the devices and the requests that are still being prepared make of it:
admission.py has the rule, this the figures.
"""

from collections.abc import Mapping
from dataclasses import replace

from services.common.models.key import ModelKey
from services.scheduler import admission
from services.scheduler.calibration import Calibration
from services.scheduler.descriptors import Promise, Refusal, Why
from services.scheduler.expected import Expectations
from services.scheduler.fairness import FairQueue
from services.scheduler.fleet import FAR_S, Fleet
from services.scheduler.placing import Placing


class Forecast:
    """Looks at what the core keeps; changes none of it. Not thread-safe."""

    def __init__(
        self,
        fleet: Fleet,
        queues: Mapping[ModelKey, FairQueue],
        expected: Expectations,
        placing: Placing,
    ) -> None:
        self._fleet = fleet
        self._queues = queues
        self._expected = expected
        self._placing = placing
        self._calibration = Calibration()

    @property
    def factor(self) -> float:
        """By how much predictions are lengthened (calibration.py)."""
        return self._calibration.factor

    def kept(self, promise: Promise, now: float) -> None:
        """Learn from a request that was answered, or whose deadline passed."""
        self._calibration.kept(promise, now)

    def queued_s(self, model: ModelKey, images: int, tenant: str, now: float) -> float:
        """Return the predicted seconds until a new request would have been run; 0: not known.

        A model that no shard serves at the moment is waited for: it is loaded, or its shards are
        restarting.
        """
        lane = self._fleet.lane(model)
        if lane is None or not lane.members:
            return self._placing.load_s(model)
        self._fleet.settle(now)
        coming = self._expected.images(model)
        own, tenants = coming[tenant], coming.keys() | {tenant}
        if (queue := self._queues.get(model)) is not None:
            own, tenants = own + queue.images_of(tenant), tenants | queue.tenants
        more = admission.ahead(images, own, self.waiting(model), len(tenants))
        for other in self._queues.keys() | self._expected.models:
            if other != model:
                more += int(self._fleet.overlap(model, other) * self.waiting(other))
        predicted_s = lane.filled_at(more, now) - now
        # Where all shards hang, it waits as well.
        return 0.0 if predicted_s > FAR_S / 2 else predicted_s

    def prepared_s(self, model: ModelKey, images: int, tenant: str, now: float) -> float:
        """Return the same of a request whose pictures have still to be prepared."""
        predicted_s = self.queued_s(model, images, tenant, now)
        if predicted_s and (prepared_s := self._expected.prepared_in(model, images)):
            # What is prepared last has at least its own run before it.
            return max(predicted_s, prepared_s + self._fleet.run_s(model, images))
        return predicted_s

    def refusal(self, model: ModelKey, predicted_s: float, budget_s: float) -> Refusal | None:
        """Return why a request is refused that has `budget_s` until its deadline, or None."""
        if self._fleet.lane(model) is not None:
            return admission.refusal(predicted_s * self.factor, budget_s)
        if self._placing.too_large(model):
            return Refusal(predicted_s, budget_s, admission.MAX_RETRY_S, Why.MODEL_TOO_LARGE)
        refusal = admission.refusal(predicted_s, budget_s)
        return refusal and replace(refusal, retry_after_s=predicted_s, why=Why.MODEL_LOADING)

    def waiting(self, model: ModelKey) -> int:
        """Return the images that wait for a lease, or are to come."""
        queue = self._queues.get(model)
        return self._expected.images(model).total() + (queue.images if queue else 0)
