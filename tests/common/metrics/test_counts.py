"""Plain numbers, and the families that are made of them."""

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from services.common.metrics.counts import MOST, OTHER, Histogram, Histograms, Tally
from services.common.metrics.families import counter, gauge, histogram


def _text(*metrics: Metric) -> list[str]:
    class Given(CollectorRegistry):
        def collect(self) -> tuple[Metric, ...]:
            return metrics

    return [line for line in generate_latest(Given()).decode().splitlines() if line[0] != "#"]


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_it() -> None:
    times = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 3.0):
        times.observe(value)
    assert _text(histogram("took_seconds", "How long.", times)) == [
        'took_seconds_bucket{le="0.1"} 2.0',
        'took_seconds_bucket{le="1.0"} 3.0',
        'took_seconds_bucket{le="+Inf"} 4.0',
        "took_seconds_count 4.0",
        "took_seconds_sum 3.65",
    ]


def test_labels_are_in_their_order() -> None:
    images = Tally()
    images.add("digits", 1, amount=3)
    assert _text(counter("images", "How many.", images, ("model", "version"))) == [
        'images_total{model="digits",version="1"} 3.0'
    ]
    assert _text(gauge("up", "Whether.", {"a": 1}, ("service",)), gauge("on", "Whether.", 1)) == [
        'up{service="a"} 1.0',
        "on 1.0",
    ]


def test_there_is_a_most_of_the_values_that_labels_take() -> None:
    words, times = Tally("FIRST"), Histograms((1.0,))
    for number in range(MOST + 50):
        words.add(f"REASON_{number}")
        times.of(("model", number)).observe(0.5)
    words.add("FIRST")
    counted = dict(words.items())
    assert len(counted) == MOST + 1
    assert counted["FIRST",] == 1
    assert sum(counted.values()) == MOST + 51
    assert counted[OTHER,] == 51
    assert len(dict(times.items())) == MOST + 1
    assert sum(times.of((OTHER, OTHER)).counts) == 50
