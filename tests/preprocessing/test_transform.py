"""Geometry: windows, resizing, cropping and orientation of decoded pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.models.input_spec import InputSpec
from services.common.transform import fit, least_size, window
from tests.preprocessing.pictures import pattern, with_orientation

sides = st.integers(1, 400)
targets = st.integers(1, 64)


@given(length=st.integers(1, 65_535), shorter=st.integers(1, 65_535), crop=st.integers(1, 300))
def test_a_window_is_central_and_large_enough(length: int, shorter: int, crop: int) -> None:
    shorter = min(shorter, length)
    scale = (crop + 32) / shorter
    start, part, resized = window(length, scale, crop)
    assert start >= 0
    assert 1 <= part <= length
    assert start * 2 + part == length
    assert resized >= crop
    assert (resized - crop) % 2 == 0
    # Whatever the proportions, what is resized is about as large as what is needed.
    assert resized <= crop + 4 + 16 * min(1.0, scale) + 4 * scale


@given(length=st.integers(100, 5000), crop=st.integers(16, 300))
def test_a_window_keeps_the_proportions(length: int, crop: int) -> None:
    scale = (crop + 32) / length
    _, part, resized = window(length, scale, crop)
    assert abs(resized - part * scale) < 1.001


@given(
    rows=sides,
    columns=sides,
    colours=st.sampled_from(((), (3,))),
    height=targets,
    width=targets,
    channels=st.sampled_from((1, 3)),
    margin=st.one_of(st.none(), st.integers(0, 40)),
    orientation=st.integers(1, 8),
)
def test_every_picture_fits_every_spec(
    rows: int,
    columns: int,
    colours: tuple[int, ...],
    height: int,
    width: int,
    channels: int,
    margin: int | None,
    orientation: int,
) -> None:
    shorter = 0 if margin is None else max(height, width) + margin
    spec = InputSpec(height, width, channels, shorter)
    pixels = np.full((rows, columns, *colours), 77, np.uint8)
    fitted = fit(pixels, spec, orientation)
    assert fitted.shape == (height, width, channels)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    assert np.all(fitted == 77)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shorter", [0, 70])
def test_orientation_is_undone(orientation: int, shorter: int) -> None:
    picture = pattern(203, 301)
    spec = InputSpec(48, 64, 3, shorter)
    stored = with_orientation(picture, orientation)
    assert np.abs(fit(stored, spec, orientation) - fit(picture, spec, 1).astype(int)).max() <= 2


def test_least_size_follows_the_stored_picture() -> None:
    assert least_size(InputSpec(48, 64, 3), 1) == (48, 64)
    assert least_size(InputSpec(48, 64, 3), 6) == (64, 48)
    assert least_size(InputSpec(48, 64, 3, 70), 6) == (70, 70)


def test_the_same_size_changes_nothing() -> None:
    picture = pattern(48, 64)
    assert np.array_equal(fit(picture, InputSpec(48, 64, 3), 1), picture)
    assert np.array_equal(fit(picture, InputSpec(32, 32, 3, 48), 1), picture[8:40, 16:48])


@given(factor=st.integers(2, 9), phase=st.integers(0, 1))
def test_fine_stripes_become_grey_and_not_coarse_stripes(factor: int, phase: int) -> None:
    stripes = np.zeros((32 * 2 * factor, 32 * 2 * factor), np.uint8)
    stripes[:, phase::2] = 255
    fitted = fit(stripes, InputSpec(32, 32, 1), 1)
    assert np.abs(fitted.astype(int) - 127).max() <= 1


def test_a_crop_is_the_middle_of_the_resized_picture() -> None:
    picture = np.zeros((600, 900), np.uint8)
    picture[300 - 75 : 300 + 75, 450 - 75 : 450 + 75] = 255
    fitted = fit(picture, InputSpec(100, 100, 1, 200), 1)[..., 0].astype(int)
    # Shorter side 600 → 200: the white square of 150 is 50 pixels in the middle of the 100.
    assert np.abs(np.argwhere(fitted > 127).mean(axis=0) - 49.5).max() < 0.01
    assert 49 <= (fitted[50] > 127).sum() <= 51


def test_grey_and_colour_become_each_other() -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    assert np.array_equal(fit(grey, InputSpec(4, 4, 3), 1), np.repeat(grey[..., None], 3, axis=2))
    colour = np.zeros((1, 3, 3), np.uint8)
    colour[0, range(3), range(3)] = 200
    assert fit(colour, InputSpec(1, 3, 1), 1).ravel().tolist() == [60, 117, 23]
