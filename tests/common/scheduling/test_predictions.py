"""Predicted against real."""

import pytest

from services.common.scheduling.predictions import RECENT, Predictions


def test_errors_are_means_of_the_recent_batches() -> None:
    seen = Predictions()
    assert (seen.error, seen.bias) == (0, 0)
    seen.ran(4, 0.02, 0.01)
    seen.ran(4, 0.005, 0.01)
    assert seen.error == pytest.approx(0.75)
    assert seen.bias == pytest.approx(0.25)
    assert (seen.batches, seen.images) == (2, 8)
    assert seen.predicted_s / seen.seconds == pytest.approx(1.25)
    for _ in range(10 * RECENT):
        seen.ran(4, 0.009, 0.01)
    assert seen.error == pytest.approx(0.1, abs=1e-3)
    assert seen.bias == pytest.approx(-0.1, abs=1e-3)


def test_a_batch_without_time_is_counted_and_tells_nothing() -> None:
    seen = Predictions()
    seen.ran(4, 0.02, 0.0)
    assert (seen.batches, seen.error) == (1, 0)
