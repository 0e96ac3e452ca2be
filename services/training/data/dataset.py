"""Labelled pictures: some to train on, others that training never sees."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is no picture, and why."""

    file: str
    """Its path in the folder of the data."""
    reason: str


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
    resize_shorter_side: int = 0
    """How the pictures were cut, as in InputSpec; 0: stretched."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files that could not be read, in the order of the source."""

    def __post_init__(self) -> None:
        """Raise InvalidRequestError (EMPTY_DATASET) when there is nothing to learn or to test."""
        for part, labels in (("train on", self.train_labels), ("test with", self.test_labels)):
            if not len(labels):
                raise InvalidRequestError(
                    f"the data set {self.name!r} has no pictures to {part}", reason="EMPTY_DATASET"
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every picture."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    def held_out_digest(self) -> str:
        """Return the sha256, hexadecimal, of what is held out: names of classes, labels, pixels.

        Two versions that were measured on data of one digest can be compared.
        """
        digest = hashlib.sha256(repr((self.labels, self.test_images.shape)).encode())
        digest.update(np.ascontiguousarray(self.test_labels, "<i8").tobytes())
        digest.update(np.ascontiguousarray(self.test_images).tobytes())
        return digest.hexdigest()


def every_nth_of_each_class(labels: npt.NDArray[np.int64], nth: int) -> npt.NDArray[np.bool_]:
    """Return which of the labels [n] are the nth, 2nth ... of their own class: bool [n]."""
    chosen = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        chosen[np.flatnonzero(labels == label)[nth - 1 :: nth]] = True
    return chosen
