"""What a preprocessing process has decoded, and what it tells Prometheus of it."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.core import Metric

from services.common.errors import ImageError
from services.common.metrics.counts import Histograms, Tally
from services.common.metrics.families import counter, histogram
from services.preprocessing.header import Content
from services.preprocessing.headers import recognise

OK: Final = "ok"
UNKNOWN: Final = "unknown"
"""The format of what is none that is decoded."""


class Decoded:
    """Pictures by what they are and what came of them. Not thread-safe."""

    def __init__(self) -> None:
        self.pictures = Tally()
        """By format, and OK or the reason of the error."""
        self.bytes = Tally()
        """Encoded bytes, by format."""
        self.seconds = Histograms()
        """From a picture's turn to its pixels, by format."""

    def add(self, form: str, outcome: str, nbytes: int, seconds: float) -> None:
        """Count a picture."""
        self.pictures.add(form, outcome)
        self.bytes.add(form, amount=nbytes)
        self.seconds.of((form,)).observe(seconds)

    def metrics(self) -> Iterator[Metric]:
        """Tell what was counted."""
        yield counter(
            "facet_preprocessing_pictures",
            "Pictures by format and outcome: ok, or the reason of the error.",
            self.pictures,
            ("format", "outcome"),
        )
        yield counter(
            "facet_preprocessing_picture_bytes",
            "Bytes of the encoded pictures, by format.",
            self.bytes,
            ("format",),
        )
        yield histogram(
            "facet_preprocessing_decode_seconds",
            "Time to decode and resize a picture, by format.",
            self.seconds,
            ("format",),
        )


def format_of(content: Content) -> str:
    """Return the name of a picture's format, or UNKNOWN."""
    try:
        return recognise(content)
    except ImageError:
        return UNKNOWN
