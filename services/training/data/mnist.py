"""MNIST: 70,000 handwritten digits in four IDX files. Its own test part is what is held out."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.training.data.dataset import Dataset
from services.training.data.idx import read_idx

TRAIN: Final = "train"
TEST: Final = "t10k"
CLASSES: Final = 10


def load_mnist_dataset(folder: Path) -> Dataset:
    """Return the data in a folder with `train-images-idx3-ubyte` and its three companions.

    Each may be gzipped (`.gz`). Pictures are grey; MNIST's own are 28 x 28. Raises
    InvalidRequestError, naming the file: MISSING_DATASET when one is not there,
    UNREADABLE_DATASET or CORRUPT_DATASET when one is not whole or does not fit the others.
    """
    train_images, train_labels = _read_part(folder, TRAIN)
    test_images, test_labels = _read_part(folder, TEST)
    if train_images.shape[1:] != test_images.shape[1:]:
        sizes = [" x ".join(map(str, part.shape[1:3])) for part in (train_images, test_images)]
        raise InvalidRequestError(
            f"{folder} is damaged: its training pictures are {sizes[0]} pixels, "
            f"its test pictures {sizes[1]}",
            reason="CORRUPT_DATASET",
        )
    return Dataset(
        name="mnist",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        labels=tuple(map(str, range(CLASSES))),
    )


def _read_part(folder: Path, part: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    images = read_idx(_find(folder, f"{part}-images-idx3-ubyte"), 3)
    path = _find(folder, f"{part}-labels-idx1-ubyte")
    labels = read_idx(path, 1)
    if len(labels) != len(images):
        raise InvalidRequestError(
            f"{path} is damaged: it has {len(labels)} labels for {len(images)} pictures",
            reason="CORRUPT_DATASET",
        )
    if len(labels) and labels.max() >= CLASSES:
        raise InvalidRequestError(
            f"{path} is damaged: it has the label {labels.max()}, and {CLASSES - 1} is the last",
            reason="CORRUPT_DATASET",
        )
    return images[..., np.newaxis], labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise InvalidRequestError(
        f"MNIST needs {name} or {name}.gz in {folder}, and neither is there; "
        "--data-folder says where it lies",
        reason="MISSING_DATASET",
    )
