"""scikit-learn's handwritten digits: small, and part of the installation."""

from typing import Final

import numpy as np
import numpy.typing as npt

from services.training.data.dataset import Dataset, every_nth_of_each_class

HELD_OUT_EVERY: Final = 3
"""Of each class, every third picture in the order of the source is held out."""

SIDE: Final = 28


def load_digits_dataset() -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits as 28 x 28 grey pictures.

    The source is 8 x 8 with values of 0 to 16, a count of pen marks each (E. Alpaydin, C. Kaynak,
    https://archive.ics.uci.edu/dataset/80). It is enlarged by bilinear interpolation with
    half-pixel centres and stretched to 0..255. A third is held out, of each class alike.
    """
    from sklearn.datasets import load_digits

    counts, labels = load_digits(return_X_y=True)
    images = enlarge(counts.reshape(-1, 8, 8) * (255 / 16), SIDE)[..., np.newaxis]
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
