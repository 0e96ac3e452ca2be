"""How pixels become a .tflite file's input, beside the formula in float64."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.models.normalisation import Normalisation
from services.training.intake.tflite_pixels import pixels_for

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
PRESETS = [Normalisation.preset(mode) for mode in ("tf", "torch", "none")]


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe", "none"])
def test_floats_are_what_the_normalisation_says(mode: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    normalisation = Normalisation.preset(mode)
    found = pixels_for("float32", None, 3, normalisation).prepare(images)
    np.testing.assert_array_equal(found, normalisation.apply(images))


@pytest.mark.parametrize(
    ("dtype", "quantisation", "mode"),
    [
        ("uint8", (2 / 255, 127), "tf"),
        ("uint8", (2 / 255, 128), "tf"),
        ("int8", (1 / 127.5, -1), "tf"),
        ("int8", (1 / 127.5, 0), "tf"),
        ("uint8", (1.0, 0), "none"),
        # The convention, whatever it stands for.
        ("int8", (0.02, -11), "none"),
        ("uint8", None, "none"),
    ],
)
def test_the_pixel_is_the_quantised_value_where_that_fits(
    dtype: str, quantisation: tuple[float, int] | None, mode: str
) -> None:
    found = pixels_for(dtype, quantisation, 1, Normalisation.preset(mode))
    assert found.shifted
    expected = RAMP.astype(np.int16) - (128 if dtype == "int8" else 0)
    np.testing.assert_array_equal(found.prepare(RAMP), expected.astype(dtype))


@given(
    st.sampled_from(["uint8", "int8"]),
    st.floats(1e-3, 2.0),
    st.integers(0, 255),
    st.sampled_from(PRESETS[:2]),
)
def test_quantised_values_stand_for_the_normalised_pixel(
    dtype: str, step: float, zero: int, normalisation: Normalisation
) -> None:
    zero -= 128 if dtype == "int8" else 0
    images = np.broadcast_to(RAMP, (16, 16, 3))
    pixels = pixels_for(dtype, (step, zero), 3, normalisation)
    found = pixels.prepare(images).astype(np.float64)
    bounds = np.iinfo(dtype)
    exact = normalisation.apply(images).astype(np.float64) / step + zero
    nearest = np.clip(exact, bounds.min, bounds.max)
    # Half a step, and what rounding is moved by to be the same everywhere.
    assert np.abs(found - nearest).max() <= 0.5 + 8 / 64 + 1e-3
    # The graph's way to the same values: scale, offset, then any kernel's rounding.
    if not pixels.shifted:
        graph = (images * pixels.scale - pixels.offset) / np.float32(step) + zero
        for rounded in (np.floor(graph + 0.5), np.ceil(graph - 0.5)):
            np.testing.assert_array_equal(np.clip(rounded, bounds.min, bounds.max), found)


def test_channels_are_reversed_before_all_else() -> None:
    image = np.array([[[10, 20, 30]]], np.uint8)
    pixels = pixels_for("float32", None, 3, Normalisation.preset("caffe"))
    expected = [30 - 103.939, 20 - 116.779, 10 - 123.68]
    np.testing.assert_allclose(pixels.prepare(image)[0, 0], expected, atol=1e-4)
