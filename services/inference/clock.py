"""When the device will be free: what a batch is predicted to take, learned from what it took."""

from dataclasses import dataclass, field

from facet.type.v1 import model_pb2
from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost, CostModel, Ran
from services.common.scheduling.predictions import Predictions
from services.inference.loaded_model import LoadedModel


@dataclass(frozen=True, slots=True)
class Experience:
    """What is known of the batches of one version."""

    costs: CostModel
    predictions: Predictions = field(default_factory=Predictions)


class DeviceClock:
    """Predicts the end of the batch that runs. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self.early_s: float | None = None
        """How much earlier than predicted the last batch ended; None before the first."""
        self._known: dict[ModelKey, Experience] = {}
        self._running: Experience | None = None
        self._started = 0.0
        self._predicted_s = 0.0

    @property
    def predicted_s(self) -> float:
        """What was foretold of the batch that runs, or ran last."""
        return self._predicted_s

    def known(self, key: ModelKey, descriptor: model_pb2.ModelDescriptor) -> Experience:
        """Return what is known of a version: at first what warming it up took."""
        known = self._known.get(key)
        if known is None:
            start = Cost(descriptor.batch_seconds, descriptor.image_seconds)
            known = self._known[key] = Experience(CostModel(start))
        return known

    def started(self, model: LoadedModel, images: int, now: float) -> None:
        """A batch begins."""
        self._running = self.known(model.key, model.descriptor)
        self._started = now
        self._predicted_s = self._running.costs.cost.seconds(images)

    def ended(self, ran: Ran, now: float) -> None:
        """The batch has run."""
        assert self._running is not None
        self.early_s = self._predicted_s - (now - self._started)
        self._running.predictions.ran(ran.images, self._predicted_s, ran.seconds)
        self._running.costs.observe(ran)
        self._running = None

    def remaining_s(self, now: float) -> float:
        """Return the predicted rest of the batch that runs; 0 when none does.

        Past its predicted end a batch has half of its elapsed time still to go.
        """
        if self._running is None:
            return 0.0
        elapsed = now - self._started
        left = self._predicted_s - elapsed
        return left if left > 0 else elapsed / 2
