"""To LiteRT."""

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from services.common.models.native_logs import EVERYTHING, quiet_stderr


def convert(
    converters: Sequence[Callable[[Path], None]], path: Path, accept: Callable[[Path], str | None]
) -> str | None:
    """Write a .tflite file by the first converter whose file is accepted.

    `accept` looks at a file and says what is wrong with it, or None. Returns None when a file was
    accepted; otherwise why not, and leaves no file: some models cannot be converted (a recurrent
    layer whose state depends on the batch size, for one).
    """
    obstacle = ""
    with quiet_stderr(EVERYTHING), without_warnings():
        for converter in converters:
            try:
                converter(path)
            except Exception as error:  # the converters raise many kinds
                obstacle = _gist(error)
                continue
            found = accept(path)
            if found is None:
                return None
            obstacle = found
    path.unlink(missing_ok=True)
    return obstacle


def write_graph(function: Any, path: Path) -> None:
    """Write a concrete function of TensorFlow as a .tflite file; raises many kinds of errors."""
    import tensorflow as tf

    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Keep what TensorFlow warns of off the terminal."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _gist(error: Exception) -> str:
    """Return the last line of an error that says what it is; MLIR puts its notes before it."""
    lines = [line.strip() for line in str(error).splitlines() if "error:" in line]
    return lines[-1].split("error:", 1)[1].strip() if lines else str(error).split("\n", 1)[0]
