"""Pictures of a training. Matplotlib is imported when one is drawn, and pyplot never."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.training.history import EpochRecord
from services.training.reports.measures import Measures

DPI: Final = 120
COUNTED_CLASSES: Final = 20
"""Up to so many classes each cell of the matrix has its number of pictures in it."""
NAMED_CLASSES: Final = 100
"""Up to so many classes each one is named at the edge; of more, every second, third ... one."""
LABEL_LENGTH: Final = 24
COLOUR_EXPONENT: Final = 0.5

_LOSS_COLOUR: Final = "#c0392b"
_ACCURACY_COLOUR: Final = "#1f6fb2"


def draw_training_curve(history: Sequence[EpochRecord], held_out: Measures, path: Path) -> None:
    """Write a PNG file: loss and accuracy over the epochs, and what was held out at the end."""
    figure = _figure(9, 3.8)
    epochs = [record.epoch for record in history]
    loss, accuracy = figure.subplots(1, 2)
    lines = (
        (loss, "loss (nats)", [record.loss for record in history], held_out.loss, _LOSS_COLOUR),
        (
            accuracy,
            "accuracy",
            [record.accuracy for record in history],
            held_out.accuracy,
            _ACCURACY_COLOUR,
        ),
    )
    for axes, name, values, final, colour in lines:
        axes.plot(epochs, values, color=colour, marker="o", markersize=3, label="training")
        axes.axhline(
            final, color="black", linestyle="--", linewidth=1, label="held out, at the end"
        )
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    loss.set_ylim(bottom=0)
    _save(figure, path)


def draw_confusion_matrix(held_out: Measures, path: Path) -> None:
    """Write a PNG file: for each true class (a row), which classes its pictures were taken for.

    A cell's colour is its share of the row. Readable from 2 to some hundred classes.
    """
    labels = [_short(measured.label) for measured in held_out.classes]
    count = len(labels)
    side = float(np.clip(2.5 + 0.4 * count, 5, 18))
    figure = _figure(side + 1.2, side)
    axes = figure.subplots()
    rows = held_out.confusion.sum(axis=1, keepdims=True)
    shares = held_out.confusion / np.maximum(rows, 1)
    # The root, so that rare mistakes can be seen beside what is nearly always right.
    norm = _power_norm(COLOUR_EXPONENT)
    image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
    figure.colorbar(image, ax=axes, fraction=0.046, label="share of the class's pictures")
    _name_classes(axes, labels, points=float(np.clip(60 * side / count, 5, 10)))
    axes.set(
        xlabel="taken for",
        ylabel="true class",
        title=f"{held_out.images} held-out pictures, {held_out.accuracy:.1%} right",
    )
    if count <= COUNTED_CLASSES:
        _write_counts(axes, held_out.confusion, shares)
    _save(figure, path)


def _name_classes(axes: Any, labels: Sequence[str], points: float) -> None:
    every = -(-len(labels) // NAMED_CLASSES)
    places, names = range(0, len(labels), every), labels[::every]
    axes.set_xticks(places, names, fontsize=points, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(places, names, fontsize=points)
    for text in (*axes.get_xticklabels(), *axes.get_yticklabels()):
        # A label with two dollar signs is no formula.
        text.set_parse_math(False)


def _write_counts(
    axes: Any, confusion: npt.NDArray[np.int64], shares: npt.NDArray[np.float64]
) -> None:
    for row, column in np.argwhere(confusion):
        colour = "white" if shares[row, column] ** COLOUR_EXPONENT > 0.5 else "black"
        axes.text(
            *(column, row, str(confusion[row, column])),
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
        )


def _short(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH else f"{label[: LABEL_LENGTH - 1]}…"


def _figure(width: float, height: float) -> Any:
    """Return an empty figure of that many inches; it is drawn by Agg, without a display."""
    # On its first run it tells that it looks for fonts, and where it keeps what it found.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _power_norm(exponent: float) -> Any:
    from matplotlib.colors import PowerNorm

    return PowerNorm(exponent, vmin=0, vmax=1)


def _save(figure: Any, path: Path) -> None:
    with warnings.catch_warnings():
        # Of letters that the font does not have.
        warnings.simplefilter("ignore")
        figure.savefig(path, format="png")
