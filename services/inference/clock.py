"""When the device will be free: what a batch is predicted to take, learned from what it took."""

from services.common.models.key import ModelKey
from services.common.scheduling.costs import Cost, CostModel, Ran
from services.inference.loaded_model import LoadedModel


class DeviceClock:
    """Predicts the end of the batch that runs. Times are seconds on the caller's clock."""

    def __init__(self) -> None:
        self.early_s: float | None = None
        """How much earlier than predicted the last batch ended; None before the first."""
        self._costs: dict[ModelKey, CostModel] = {}
        self._running: CostModel | None = None
        self._started = 0.0
        self._predicted_s = 0.0

    def started(self, model: LoadedModel, images: int, now: float) -> None:
        """A batch begins."""
        self._running = self._costs.get(model.key)
        if self._running is None:
            start = Cost(model.descriptor.batch_seconds, model.descriptor.image_seconds)
            self._running = self._costs[model.key] = CostModel(start)
        self._started = now
        self._predicted_s = self._running.cost.seconds(images)

    def ended(self, ran: Ran, now: float) -> None:
        """The batch has run."""
        assert self._running is not None
        self.early_s = self._predicted_s - (now - self._started)
        self._running.observe(ran)
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
