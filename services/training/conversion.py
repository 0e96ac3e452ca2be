"""Keras to LiteRT."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import tensorflow as tf

from services.common.models.native_logs import EVERYTHING, quiet_stderr


def convert(model: Any, path: Path, accept: Callable[[Path], str | None]) -> str | None:
    """Write a uint8-to-scores keras.Model as a .tflite file that takes batches of any size.

    The quick converter is tried first, then Keras's own; `accept` looks at the file that one of
    them wrote and says what is wrong with it, or None. Returns None when a file was accepted;
    otherwise why not, and leaves no file: some models cannot be converted (a recurrent layer
    whose state depends on the batch size, for one).
    """
    obstacle = ""
    with quiet_stderr(EVERYTHING), _without_warnings():
        for converter in _CONVERTERS:
            try:
                converter(model, path)
            except Exception as error:  # the converters raise many kinds
                obstacle = _gist(error)
                continue
            found = accept(path)
            if found is None:
                return None
            obstacle = found
    path.unlink(missing_ok=True)
    return obstacle


def _by_graph(model: Any, path: Path) -> None:
    """Convert the traced graph itself: up to ten times quicker than by way of a SavedModel."""
    signature = tf.TensorSpec(model.inputs[0].shape, tf.uint8)
    graph = tf.function(lambda images: model(images, training=False), autograph=False)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [graph.get_concrete_function(signature)]
    )
    path.write_bytes(converter.convert())


def _by_keras(model: Any, path: Path) -> None:
    model.export(path, format="litert", verbose=False)


_CONVERTERS: Final = (_by_graph, _by_keras)


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    absl = logging.getLogger("absl")
    level = absl.level
    absl.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        absl.setLevel(level)


def _gist(error: Exception) -> str:
    """Return the last line of an error that says what it is; MLIR puts its notes before it."""
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
    return lines[-1].split("error:", 1)[1].strip() if lines else str(error).split("\n", 1)[0]
