"""Scores → the order of the classes. Pure."""

import numpy as np
import numpy.typing as npt


def top_indices(
    scores: npt.NDArray[np.float32],
    top_k: int,
    among_equals: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.intp]:
    """Return the indices of the `top_k` largest scores of each row, [images, min(k, classes)].

    Equal scores come in the order of `among_equals` (of the shape of `scores`), largest first,
    then in that of the classes.
    """
    classes = scores.shape[1]
    # Ascending by the negative: not a number, which is no answer, sorts last.
    keys = -scores
    if 0 < top_k < classes:
        # Sorting a thousand classes costs ten times what finding the best five does; the
        # partition alone would not keep the order of equals, so ties at the edge are sorted out.
        edge = np.partition(keys, top_k - 1, axis=1)[:, top_k - 1 : top_k]
        keys = np.where(keys > edge, np.nan, keys)
    if among_equals is None:
        order = np.argsort(keys, axis=1, kind="stable")
    else:
        order = np.lexsort((-among_equals, keys), axis=1)
    return order[:, : top_k or classes]
