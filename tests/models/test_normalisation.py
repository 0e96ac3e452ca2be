import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import InvalidRequestError
from services.common.models.normalisation import Normalisation

PIXELS = np.random.default_rng(1).integers(0, 256, (3, 2, 2, 3), dtype=np.uint8)


def test_tf_maps_to_minus_one_to_one() -> None:
    values = Normalisation.preset("tf").apply(PIXELS)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, PIXELS / 127.5 - 1, atol=1e-6)


def test_torch_standardises_each_channel() -> None:
    expected = (PIXELS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(Normalisation.preset("torch").apply(PIXELS), expected, atol=1e-5)


def test_caffe_reverses_the_channels_and_takes_off_the_mean() -> None:
    expected = PIXELS[..., ::-1] - np.array([103.939, 116.779, 123.68])
    np.testing.assert_allclose(Normalisation.preset("caffe").apply(PIXELS), expected, atol=1e-4)


def test_none_leaves_the_values() -> None:
    np.testing.assert_array_equal(Normalisation.preset("none").apply(PIXELS), PIXELS)


@given(
    mean=st.tuples(*[st.floats(0, 255)] * 3),
    scale=st.floats(1e-3, 10),
)
def test_custom_takes_off_the_mean_and_then_scales(
    mean: tuple[float, float, float], scale: float
) -> None:
    values = Normalisation.custom(mean, scale).apply(PIXELS)
    np.testing.assert_allclose(values, (PIXELS - np.array(mean)) * scale, atol=1e-3)


def test_options_choose_a_preset_or_a_mean() -> None:
    assert Normalisation.from_options(None, None, None) is None
    assert Normalisation.from_options("tf", None, None) == Normalisation.preset("tf")
    chosen = Normalisation.from_options(None, "123,117, 104", None)
    assert chosen == Normalisation.custom((123.0, 117.0, 104.0))
    assert Normalisation.from_options(None, None, 0.5) == Normalisation.custom((0.0,), 0.5)


@pytest.mark.parametrize(
    ("mode", "mean", "scale", "says"),
    [
        ("sepia", None, None, "must be one of tf, torch, caffe, none, not 'sepia'"),
        ("tf", "1,2,3", None, "either --preprocessing or --mean"),
        (None, "1,x", None, "numbers joined by commas"),
        (None, "1,2", None, "1 or 3 finite numbers"),
        (None, "nan", None, "1 or 3 finite numbers"),
        (None, "1", 0.0, "a scale of 0"),
        (None, "1", float("inf"), "1 or 3 finite numbers"),
    ],
)
def test_senseless_options_are_refused(
    mode: str | None, mean: str | None, scale: float | None, says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says):
        Normalisation.from_options(mode, mean, scale)


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_grey_pictures_have_no_channels_to_tell_apart(mode: str) -> None:
    Normalisation.preset(mode).check_channels(3)
    Normalisation.preset("tf").check_channels(1)
    with pytest.raises(InvalidRequestError, match="grey"):
        Normalisation.preset(mode).check_channels(1)
