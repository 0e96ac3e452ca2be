"""Keeps the chatter of native libraries off standard error.

TensorFlow and LiteRT write some lines with C++ stdio before any setting of theirs can be heard
("Created TensorFlow Lite XNNPACK delegate", "oneDNN custom operations are on"), so that only the
file descriptor can be filtered.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

QUIET_ENVIRONMENT: Final[Mapping[str, str]] = {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""What a composition root puts into the environment before TensorFlow is imported."""

NOISE: Final = re.compile(
    rb"Created TensorFlow Lite XNNPACK delegate"
    rb"|oneDNN custom operations are on"
    rb"|All log messages before absl::InitializeLog"
)
EVERYTHING: Final = re.compile(rb"")

# Standard error belongs to the process: two threads must not exchange it at once.
_STDERR: Final = threading.RLock()


@contextlib.contextmanager
def quiet_stderr(drop: re.Pattern[bytes] = NOISE) -> Iterator[None]:
    """Hold back what native code writes to standard error; at the end, pass on all but the noise.

    `drop` matches the lines that are not passed on. What Python writes through `sys.stderr` in
    the meantime appears at once. Without a standard error nothing happens.
    """
    with _STDERR, contextlib.ExitStack() as stack:
        try:
            real = os.dup(2)
        except OSError:
            yield
            return
        stack.callback(os.close, real)
        held = stack.enter_context(tempfile.TemporaryFile())
        passage = _Passage(real)
        for_python = io.TextIOWrapper(
            io.BufferedWriter(passage),
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        python_stderr = sys.stderr
        sys.stderr = for_python
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(real, 2)
            passage.descriptor = 2
            if sys.stderr is for_python:
                sys.stderr = python_stderr
            _pass_on(held, real, drop)


class _Passage(io.RawIOBase):
    """Writes to a descriptor that may be exchanged.

    A log handler that is made meanwhile (absl makes one at its import) keeps this as its stream
    for good, so it has to stay of use when the saved descriptor is closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self.descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)

    def write(self, data: "Buffer") -> int:
        return os.write(self.descriptor, data)


def _pass_on(held: BinaryIO, descriptor: int, drop: re.Pattern[bytes]) -> None:
    held.seek(0)
    with open(descriptor, "wb", closefd=False) as stderr:
        stderr.writelines(line for line in held if not drop.search(line))
