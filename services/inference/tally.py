"""What a shard's device has run so far, by version, for people to look at."""

from services.common.metrics.counts import IMAGES, Histogram, Histograms
from services.common.models.key import ModelKey


class Tally:
    """Counts since the process started. Not thread-safe."""

    def __init__(self) -> None:
        self.batch_images = Histograms(IMAGES)
        """Images of a batch, by version."""
        self.device_seconds = Histograms()
        """How long a batch took on the device, by version."""
        self.queue_seconds = Histogram()
        """How long a part waited from its arrival until its batch began."""

    def ran(self, model: ModelKey, images: int, seconds: float) -> None:
        """A batch has run."""
        self.batch_images.of(model).observe(images)
        self.device_seconds.of(model).observe(seconds)
