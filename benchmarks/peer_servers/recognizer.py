"""What every peer does with a batch: Facet's own decoding, engine and labels."""

import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from services.common.models.input_spec import InputSpec
from services.common.models.litert import LiteRtModel
from services.preprocessing.limits import Limits
from services.preprocessing.prepare import prepare

TOP_K = 5
SHORTER_SIDE = 256


class Recognizer:
    """One engine with one thread; one caller at a time."""

    def __init__(self, model: Path, labels: Path) -> None:
        """`model`: a .tflite file; `labels`: a class a line."""
        cv2.setNumThreads(1)
        self._engine = LiteRtModel(model, 1)
        height, width, channels = self._engine.shape
        self._spec = InputSpec(height, width, channels, SHORTER_SIDE)
        self._limits = Limits()
        self._labels = labels.read_text("utf-8").splitlines()
        self._lock = threading.Lock()

    def recognize(self, pictures: Sequence[bytes]) -> list[tuple[list[str], list[float]]]:
        """Return the best labels and their scores of each encoded picture."""
        with self._lock:
            pixels = np.stack([prepare(each, self._spec, self._limits) for each in pictures])
            rows = self._engine.predict(pixels)
        answers = []
        for scores in rows:
            best = np.argpartition(scores, -TOP_K)[-TOP_K:]
            best = best[np.argsort(-scores[best])]
            answers.append(([self._labels[index] for index in best], scores[best].tolist()))
        return answers


def arguments() -> tuple[int, int, Path, Path, Path]:
    """Return port, engines, model, labels and a folder for state, from the command line."""
    port, engines, model, labels, state = sys.argv[1:]
    return int(port), int(engines), Path(model), Path(labels), Path(state)
