import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.common.errors import InvalidRequestError
from services.training.datasets import (
    Dataset,
    enlarge,
    every_nth_of_each_class,
    load_dataset,
    load_digits_dataset,
)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_dataset()


def test_digits_are_grey_pictures_of_28_by_28(digits: Dataset) -> None:
    for images, labels in (
        (digits.train_images, digits.train_labels),
        (digits.test_images, digits.test_labels),
    ):
        assert images.dtype == np.uint8
        assert images.shape == (len(labels), 28, 28, 1)
        assert images.max() == 255
    assert len(digits.train_labels) + len(digits.test_labels) == 1797
    assert digits.labels == tuple("0123456789")


def test_a_third_of_each_digit_is_held_out(digits: Dataset) -> None:
    for label in range(10):
        held_out = int((digits.test_labels == label).sum())
        assert held_out == (held_out + int((digits.train_labels == label).sum())) // 3


def test_no_held_out_picture_is_trained_on(digits: Dataset) -> None:
    trained = {image.tobytes() for image in digits.train_images}
    shared = [image for image in digits.test_images if image.tobytes() in trained]
    assert shared == []


def test_the_split_is_always_the_same(digits: Dataset) -> None:
    again = load_dataset("digits")
    np.testing.assert_array_equal(again.test_images, digits.test_images)
    np.testing.assert_array_equal(again.test_labels, digits.test_labels)


def test_unknown_and_empty_data_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidRequestError, match="must be one of digits, not 'cats'"):
        load_dataset("cats")
    for part in ("train", "test"):
        nothing = {
            f"{part}_images": digits.test_images[:0],
            f"{part}_labels": digits.test_labels[:0],
        }
        with pytest.raises(InvalidRequestError, match=f"no pictures to {part}") as raised:
            dataclasses.replace(digits, **nothing)  # type: ignore[arg-type]
        assert raised.value.reason == "EMPTY_DATASET"


@given(
    images=arrays.arrays(np.float64, (2, 8, 8), elements=st.integers(0, 255).map(float)),
    side=st.integers(8, 40),
)
def test_enlarging_keeps_range_and_symmetry(images: np.ndarray, side: int) -> None:
    large = enlarge(images, side)
    assert large.shape == (2, side, side)
    for before, after in zip(images, large, strict=True):
        assert before.min() <= after.min() <= after.max() <= before.max()
    # Halves may be rounded either way.
    upside_down = enlarge(images[:, ::-1], side)
    np.testing.assert_allclose(upside_down, large[:, ::-1].astype(float), atol=1)
    turned = enlarge(images.transpose(0, 2, 1), side)
    np.testing.assert_allclose(turned, large.transpose(0, 2, 1).astype(float), atol=1)


def test_enlarging_is_bilinear_with_half_pixel_centres() -> None:
    image = np.array([[[0.0, 100.0], [100.0, 200.0]]])
    row = [0, 25, 75, 100]
    np.testing.assert_array_equal(enlarge(image, 4)[0], [[a + b for b in row] for a in row])
    np.testing.assert_array_equal(enlarge(image, 2), image)


@given(labels=st.lists(st.integers(0, 3), max_size=60), nth=st.integers(1, 5))
def test_every_nth_of_each_class(labels: list[int], nth: int) -> None:
    chosen = every_nth_of_each_class(np.array(labels, np.int64), nth)
    for label in set(labels):
        own = [bool(chosen[index]) for index, each in enumerate(labels) if each == label]
        assert own == [place % nth == 0 for place in range(1, len(own) + 1)]
