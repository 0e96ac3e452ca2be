"""The one door to data sets."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.training.data.dataset import Dataset
from services.training.data.digits import load_digits_dataset
from services.training.data.folder import load_folder_dataset
from services.training.data.mnist import load_mnist_dataset

DIGITS: Final = "digits"
MNIST: Final = "mnist"
BUILT_IN: Final = (DIGITS, MNIST)

TEST_DATA: Final = "FACET_TEST_DATA"
"""The environment variable that names the folder with `datasets/mnist`."""


@dataclass(frozen=True, slots=True)
class DataOptions:
    """How data is found and cut. Plain values, so that other processes can be told."""

    data_folder: str = ""
    """Where the files of mnist lie; empty: `datasets/mnist` in the folder FACET_TEST_DATA."""
    image_size: int = 64
    """Side of the pictures of a folder, pixels: the shorter side is resized to it and the
    middle is cut out."""
    channels: int = 3
    """Of the pictures of a folder: 1 (grey) or 3 (RGB)."""


def load_dataset(data: str, options: DataOptions = DataOptions()) -> Dataset:  # frozen
    """Return a data set: `digits`, `mnist`, or a folder of pictures by class at that path.

    Deterministic: every process gets the same pictures in the same order. Raises
    InvalidRequestError, naming the file or folder, when it cannot be used.
    """
    if data == DIGITS:
        return load_digits_dataset()
    if data == MNIST:
        return load_mnist_dataset(_mnist_folder(options))
    if not Path(data).is_dir():
        raise InvalidRequestError(
            f"the data must be one of {', '.join(BUILT_IN)} or a folder of pictures, not {data!r}",
            reason="MISSING_DATASET",
        )
    side = options.image_size
    return load_folder_dataset(Path(data), InputSpec(side, side, options.channels, side))


def _mnist_folder(options: DataOptions) -> Path:
    if options.data_folder:
        return Path(options.data_folder)
    if not (test_data := os.environ.get(TEST_DATA)):
        raise InvalidRequestError(
            f"say where MNIST lies: --data-folder, or {TEST_DATA} for its datasets/mnist",
            reason="MISSING_DATASET",
        )
    return Path(test_data, "datasets", "mnist")
