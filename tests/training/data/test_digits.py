import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.common.errors import InvalidRequestError
from services.training.data.dataset import Dataset, every_nth_of_each_class
from services.training.data.digits import enlarge, load_digits_dataset
from services.training.data.loading import load_dataset


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
    assert again.held_out_digest() == digits.held_out_digest()


def test_the_digest_names_pictures_labels_and_classes_that_are_held_out(digits: Dataset) -> None:
    def digest(**changes: Any) -> str:
        return dataclasses.replace(digits, **changes).held_out_digest()

    own = digest()
    assert digest(train_images=digits.train_images[:9], train_labels=digits.train_labels[:9]) == own
    others = {
        digest(test_images=255 - digits.test_images),
        digest(test_labels=digits.test_labels[::-1]),
        digest(labels=tuple("abcdefghij")),
        digest(test_images=digits.test_images[:9], test_labels=digits.test_labels[:9]),
    }
    assert len(others | {own}) == 5


def test_unknown_and_empty_data_are_refused(digits: Dataset) -> None:
    with pytest.raises(InvalidRequestError, match=r"digits, mnist or a folder .* not 'cats'") as no:
        load_dataset("cats")
    assert no.value.reason == "MISSING_DATASET"
    for part in ("train", "test"):
        nothing: dict[str, Any] = {
            f"{part}_images": digits.test_images[:0],
            f"{part}_labels": digits.test_labels[:0],
        }
        with pytest.raises(InvalidRequestError, match=f"no pictures to {part}") as raised:
            dataclasses.replace(digits, **nothing)
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
