"""Pictures to train on, and others that training never sees."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError

HELD_OUT_EVERY: Final = 3
"""Of each class, every third picture in the order of the source is held out."""

DIGITS_SIDE: Final = 28


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Labelled pictures of one size. Labels are indices into `labels`."""

    name: str
    train_images: npt.NDArray[np.uint8]
    """[n, height, width, channels]"""
    train_labels: npt.NDArray[np.int64]
    """[n]"""
    test_images: npt.NDArray[np.uint8]
    """[m, height, width, channels]; held out"""
    test_labels: npt.NDArray[np.int64]
    """[m]"""
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raise InvalidRequestError (EMPTY_DATASET) when there is nothing to learn or to test."""
        for part, labels in (("train on", self.train_labels), ("test with", self.test_labels)):
            if not len(labels):
                raise InvalidRequestError(
                    f"the data set {self.name!r} has no pictures to {part}", reason="EMPTY_DATASET"
                )


def load_dataset(name: str) -> Dataset:
    """Return a data set by name; InvalidRequestError for an unknown one."""
    if name not in DATASETS:
        raise InvalidRequestError(
            f"the data set must be one of {', '.join(DATASETS)}, not {name!r}"
        )
    return DATASETS[name]()


def load_digits_dataset() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits as 28 x 28 grey pictures.

    The source is 8 x 8 with values of 0 to 16, a count of pen marks each (E. Alpaydin, C. Kaynak,
    https://archive.ics.uci.edu/dataset/80). It is enlarged by bilinear interpolation with
    half-pixel centres and stretched to 0..255. A third is held out, of each class alike.
    """
    from sklearn.datasets import load_digits

    counts, labels = load_digits(return_X_y=True)
    images = enlarge(counts.reshape(-1, 8, 8) * (255 / 16), DIGITS_SIDE)[..., np.newaxis]
    labels = labels.astype(np.int64)
    held_out = every_nth_of_each_class(labels, HELD_OUT_EVERY)
    return Dataset(
        name="digits",
        train_images=images[~held_out],
        train_labels=labels[~held_out],
        test_images=images[held_out],
        test_labels=labels[held_out],
        labels=tuple("0123456789"),
    )


DATASETS: Final[Mapping[str, Callable[[], Dataset]]] = {"digits": load_digits_dataset}


def enlarge(images: npt.NDArray[np.float64], side: int) -> npt.NDArray[np.uint8]:
    """Return square pictures [n, s, s] with values of 0 to 255, enlarged to [n, side, side].

    Bilinear: pixel i of the result lies at (i + 1/2) * s/side - 1/2 of the source, and the
    border is repeated outwards.
    """
    source = images.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * source / side - 0.5, 0, source - 1)
    distance = np.abs(centres[:, np.newaxis] - np.arange(source))
    weights = np.maximum(0, 1 - distance)
    return np.asarray(np.rint(weights @ images @ weights.T), np.uint8)


def every_nth_of_each_class(labels: npt.NDArray[np.int64], nth: int) -> npt.NDArray[np.bool_]:
    """Return which of the labels [n] are the nth, 2nth ... of their own class: bool [n]."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[nth - 1 :: nth]] = True
    return chosen
