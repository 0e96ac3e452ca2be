"""Random changes of training pictures."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from services.training.augmentation import augmented
from services.training.settings import TrainingSettings

SHAPE = (24, 24, 1)
NONE = TrainingSettings(shift=0)


def changed(settings: TrainingSettings, *, training: bool = True) -> npt.NDArray[np.float32]:
    """Return what a network sees of eight equal pictures, dark on the left, brighter downwards."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Identity()])
    return np.asarray(augmented(network, SHAPE, settings)(pictures(), training=training))


def pictures() -> npt.NDArray[np.float32]:
    down, across = np.mgrid[0:24, 0:24] / 24
    picture = (0.2 + 0.3 * (across > 0.5) + 0.3 * down).astype(np.float32)
    return np.repeat(picture[np.newaxis, ..., np.newaxis], 8, axis=0)


def test_without_any_the_network_is_the_same() -> None:
    network = keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten()])
    assert augmented(network, SHAPE, NONE) is network


@pytest.mark.parametrize(
    "setting",
    [{"shift": 0.2}, {"rotation": 40.0}, {"zoom": 0.4}, {"flip": True}, {"contrast": 0.5}],
    ids=lambda setting: next(iter(setting)),
)
def test_each_changes_pictures_while_training_and_never_later(setting: dict[str, Any]) -> None:
    settings = TrainingSettings(**{"shift": 0, **setting})
    seen = changed(settings)
    assert seen.shape == (8, *SHAPE)
    assert seen.min() >= 0
    assert seen.max() <= 1
    assert len({picture.tobytes() for picture in seen}) > 1
    np.testing.assert_array_equal(changed(settings, training=False), pictures())


def test_a_flipped_picture_is_the_mirror_image() -> None:
    seen = changed(TrainingSettings(shift=0, flip=True))
    picture = pictures()[0]
    found = {each.tobytes() for each in seen}
    assert found == {picture.tobytes(), np.ascontiguousarray(picture[:, ::-1]).tobytes()}


def test_a_turn_is_within_its_degrees() -> None:
    few, many = (
        np.abs(changed(TrainingSettings(shift=0, rotation=degrees)) - pictures()).mean()
        for degrees in (5.0, 90.0)
    )
    assert 0 < few < many / 2
