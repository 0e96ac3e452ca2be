"""What the device is predicted to have left to do."""

from functools import partial
from pathlib import Path

import pytest

from services.common.scheduling.costs import Ran
from services.inference.clock import DeviceClock
from services.inference.loaded_model import LoadedModel
from tests.inference.models import MODEL, load, repository_in


@pytest.fixture
def model(tmp_path: Path) -> LoadedModel:
    """A model that was measured at 10 ms a batch and 1 ms an image."""
    loaded = partial(load, repository_in(tmp_path))(MODEL)
    loaded.descriptor.batch_seconds = 0.010
    loaded.descriptor.image_seconds = 0.001
    return loaded


def test_an_idle_device_has_nothing_left() -> None:
    assert DeviceClock().remaining_s(5.0) == 0.0


def test_a_batch_counts_down_and_an_overdue_one_has_half_its_time_to_go(
    model: LoadedModel,
) -> None:
    clock = DeviceClock()
    clock.started(model, 10, 100.0)
    assert clock.remaining_s(100.0) == pytest.approx(0.020)
    assert clock.remaining_s(100.015) == pytest.approx(0.005)
    assert clock.remaining_s(100.040) == pytest.approx(0.020)
    clock.ended(Ran(10, 0.04), 100.040)
    assert clock.remaining_s(100.040) == 0.0
    assert clock.early_s == pytest.approx(-0.020)


def test_what_batches_really_take_is_learned(model: LoadedModel) -> None:
    clock, now = DeviceClock(), 0.0
    for images in (1, 4, 8, 16, 2, 32) * 4:
        clock.started(model, images, now)
        now += 0.002 + 0.003 * images
        clock.ended(Ran(images, 0.002 + 0.003 * images), now)
    clock.started(model, 20, now)
    assert clock.remaining_s(now) == pytest.approx(0.062, rel=0.1)


def test_predictions_are_compared_with_what_came_of_them(model: LoadedModel) -> None:
    clock = DeviceClock()
    known = clock.known(model.key, model.descriptor)
    assert tuple(known.costs.fit) == pytest.approx((0.010, 0.001))
    clock.started(model, 10, 0.0)
    assert clock.predicted_s == pytest.approx(0.020)
    clock.ended(Ran(10, 0.025), 0.026)
    assert clock.known(model.key, model.descriptor) is known
    assert known.predictions.predicted_s == pytest.approx(0.020)
    assert known.predictions.seconds == pytest.approx(0.025)
    assert known.predictions.bias == pytest.approx(-0.2)
