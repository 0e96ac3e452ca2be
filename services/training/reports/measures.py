"""How well scores name the classes of pictures. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

TOP: Final = 5
"""A picture counts for `top_5_accuracy` when its class is among so many best ones."""

_LEAST_SHARE: Final = 1e-7
"""A share counts as at least this, as in Keras: the loss stays finite."""


@dataclass(frozen=True, slots=True)
class ClassMeasures:
    """One class against the rest."""

    label: str
    precision: float
    """Of the pictures that were taken for this class, the share that is; 0 when none was."""
    recall: float
    """Of the pictures of this class, the share that was recognised; 0 when there is none."""
    support: int
    """Pictures of this class."""


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """Of the scores for some pictures."""

    accuracy: float
    """Share of pictures whose best class is the right one."""
    top_5_accuracy: float | None
    """Share of pictures whose class is among the five best; None for five classes or fewer."""
    loss: float
    """Mean cross-entropy, nats."""
    confusion: npt.NDArray[np.int64]
    """[true class, class that was named]: numbers of pictures"""
    classes: tuple[ClassMeasures, ...]

    @property
    def images(self) -> int:
        """Number of pictures."""
        return int(self.confusion.sum())

    @classmethod
    def of(
        cls,
        scores: npt.NDArray[np.float32],
        truth: npt.NDArray[np.int64],
        labels: Sequence[str],
    ) -> Self:
        """Measure scores [n, classes], shares that add up to 1, against true classes [n]; n > 0."""
        named = scores.argmax(axis=1)
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (truth, named), 1)
        right = scores[np.arange(len(truth)), truth].astype(np.float64)
        better = (scores > right[:, np.newaxis].astype(scores.dtype)).sum(axis=1)
        return cls(
            accuracy=float(np.trace(confusion) / len(truth)),
            top_5_accuracy=float((better < TOP).mean()) if len(labels) > TOP else None,
            loss=float(-np.log(np.clip(right, _LEAST_SHARE, 1)).mean()),
            confusion=confusion,
            classes=tuple(_class_measures(confusion, labels)),
        )


def _class_measures(confusion: npt.NDArray[np.int64], labels: Sequence[str]) -> list[ClassMeasures]:
    hits, named, support = confusion.diagonal(), confusion.sum(axis=0), confusion.sum(axis=1)
    return [
        ClassMeasures(
            label=label,
            precision=float(hits[index] / max(1, named[index])),
            recall=float(hits[index] / max(1, support[index])),
            support=int(support[index]),
        )
        for index, label in enumerate(labels)
    ]
