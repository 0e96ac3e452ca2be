"""What an aggregation process has combined, and what it tells Prometheus of it."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from services.common.metrics.counts import Histogram, Tally
from services.common.metrics.families import counter, histogram


class Combined:
    """What was combined. Not thread-safe."""

    def __init__(self) -> None:
        self.items = Tally("combined", "failed", "descriptor_needed")
        """Requests of gateways, by what came of them."""
        self.images = 0
        """Pictures that have their classes."""
        self.seconds = Histogram()
        """Time of a call, which has many items."""

    def metrics(self) -> Iterator[Metric]:
        """Tell what was counted."""
        yield counter(
            "facet_aggregation_items",
            "Answers put together, by outcome: combined, failed, or descriptor_needed where the "
            "gateway has to send the labels along.",
            self.items,
            ("outcome",),
        )
        yield counter("facet_aggregation_images", "Pictures in combined answers.", self.images)
        yield histogram(
            "facet_aggregation_combine_seconds",
            "Time to put together the answers of one call.",
            self.seconds,
        )
