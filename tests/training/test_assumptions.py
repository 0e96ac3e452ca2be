"""What is concluded from a model, beside what Keras itself says of its networks."""

from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.models.normalisation import Normalisation
from services.training.intake.assumptions import Linear, from_arithmetic, from_quantisation
from services.training.intake.keras_files import assumed_for

SHAPE = (96, 96, 3)


def mode_of(model: Any) -> str | None:
    assumed = assumed_for(model)
    return None if assumed is None else str(assumed.normalisation)


def network(family: str) -> Any:
    """One of keras.applications, its weights never made."""
    with keras.StatelessScope(initialize_variables=False):
        build = getattr(keras.applications, family)
        return build(weights=None, include_top=False, input_shape=SHAPE)


@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("MobileNet", "tf"),
        ("MobileNetV2", "tf"),
        ("ResNet50V2", "tf"),
        ("Xception", "tf"),
        ("ResNet50", "caffe"),
        ("VGG16", "caffe"),
        ("DenseNet121", "torch"),
        ("MobileNetV3Small", "none"),
        ("EfficientNetB0", "none"),
        ("ConvNeXtTiny", "none"),
    ],
)
def test_keras_applications(family: str, mode: str) -> None:
    model = network(family)
    assert mode_of(model) == mode
    # As the base of another model, and taken apart for one.
    pooling = keras.layers.GlobalAveragePooling2D()
    assert mode_of(keras.Sequential([keras.Input(SHAPE), model, pooling])) == mode
    assert mode_of(keras.Model(model.input, pooling(model.output))) == mode


def behind(*front: Any) -> Any:
    return keras.Sequential([keras.Input((8, 8, 3)), *front, keras.layers.Conv2D(2, 3)])


def test_networks_of_ones_own_show_nothing() -> None:
    assert mode_of(behind()) is None
    assert mode_of(behind(keras.layers.BatchNormalization())) is None
    assert mode_of(behind(keras.layers.RandomFlip())) is None


def test_the_layers_before_the_first_that_learns() -> None:
    rescaling, flip = keras.layers.Rescaling, keras.layers.RandomFlip
    assert mode_of(behind(flip(), rescaling(1 / 255))) == "none"
    assert mode_of(behind(rescaling(1 / 127.5, -1.0))) == "none"
    assert mode_of(behind(rescaling(1 / 255), rescaling(2.0, -1.0))) == "none"
    assert mode_of(behind(rescaling(2.0, -1.0))) == "x * (0.003922)"
    mean, variance = [120.0, 115.0, 100.0], [3600.0, 3500.0, 3700.0]
    assert mode_of(behind(keras.layers.Normalization(mean=mean, variance=variance))) == "none"


MEAN = np.array([103.9, 116.8, 123.7], np.float32)


def test_arithmetic_between_the_layers() -> None:
    images = keras.Input((8, 8, 3))
    for values in (images / 127.5 - 1.0, images * (1 / 255), images - MEAN):
        assert mode_of(keras.Model(images, keras.layers.Conv2D(2, 3)(values))) == "none"
    mixed = keras.Model(images, keras.layers.Conv2D(2, 3)(images + images))
    assert mode_of(mixed) is None


def test_uint8_pictures() -> None:
    images = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(images, keras.layers.Flatten()(images))
    assert mode_of(model) == "none"


@given(st.floats(1e-4, 1e4), st.floats(-1e4, 1e4))
def test_only_a_usual_range_is_concluded_from(scale: float, offset: float) -> None:
    assumed = from_arithmetic(Linear(np.array([scale]), np.array([offset])))
    if assumed is None:
        return
    low, high = (scale * value + offset for value in assumed.normalisation.apply(ENDS))
    caffe = scale == pytest.approx(1, abs=1e-4) and -200 <= offset <= -50
    assert caffe or 0.9 <= high - low <= 10.001


ENDS = np.array([0, 255], np.uint8)


@pytest.mark.parametrize(
    ("scale", "zero_point", "mode"),
    [
        (1 / 127.5, 127, "tf"),
        (1 / 127.5, 128, "tf"),
        (1 / 128, 128, "tf"),
        (1 / 255, 0, "x * (0.003922)"),
        (1.0, 0, "none"),
        (0.0187, 114, None),
        (0.5, 0, None),
        (1 / 127.5, 0, None),
    ],
)
def test_quantised_inputs(scale: float, zero_point: int, mode: str | None) -> None:
    assumed = from_quantisation(scale, zero_point)
    assert (assumed and str(assumed.normalisation)) == mode


def test_what_is_assumed_can_be_said() -> None:
    assumed = from_quantisation(1 / 127.5, 127)
    assert assumed is not None
    assert assumed.normalisation == Normalisation.preset("tf")
    assert assumed.because == "its quantised input stands for -0.996 to 1"
