"""Numbers → metric families of prometheus_client.

Names follow https://prometheus.io/docs/practices/naming/: base units, and `_total` on counters,
which prometheus_client adds.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import TypeAlias

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.utils import floatToGoString

from services.common.metrics.counts import Histogram, Histograms, Key, Tally

Values: TypeAlias = float | Tally | Mapping[str, float] | Iterable[tuple[Key, float]]
"""One number where there are no labels; else the numbers by the values of the labels."""

MODEL = ("model", "version")
"""The labels of what is told of a model version."""


def counter(name: str, text: str, values: Values, labels: Sequence[str] = ()) -> Metric:
    """Return a family of counters; its samples are called `name`_total."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in _items(values):
        family.add_metric(list(map(str, key)), value)
    return family


def gauge(name: str, text: str, values: Values, labels: Sequence[str] = ()) -> Metric:
    """Return a family of gauges."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in _items(values):
        family.add_metric(list(map(str, key)), value)
    return family


def histogram(
    name: str,
    text: str,
    values: Histogram | Histograms | Iterable[tuple[Key, Histogram]],
    labels: Sequence[str] = (),
) -> Metric:
    """Return a family of histograms."""
    family = HistogramMetricFamily(name, text, labels=labels)
    if isinstance(values, Histogram):
        values = [((), values)]
    elif isinstance(values, Histograms):
        values = values.items()
    for key, each in values:
        bounds = [*map(floatToGoString, each.bounds), "+Inf"]
        buckets = list(zip(bounds, map(float, accumulate(each.counts)), strict=True))
        family.add_metric(list(map(str, key)), buckets=buckets, sum_value=each.total)
    return family


def _items(values: Values) -> Iterable[tuple[Key, float]]:
    if isinstance(values, int | float):
        return [((), values)]
    if isinstance(values, Tally):
        return values.items()
    if isinstance(values, Mapping):
        return [((word,), value) for word, value in values.items()]
    return values
