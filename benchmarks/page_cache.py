"""Files out of the memory that caches them, without the rights of an administrator."""

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.models import ROOT


def evict_everything(*further: Path) -> None:
    """Throw out the interpreter, its packages, this repository's code and further folders.

    Linux keeps what is mapped somewhere: shared libraries that another process uses.
    """
    code = (ROOT / name for name in ("facet", "gateway", "services", "protos"))
    library = Path(os.__file__).parent
    for folder in (Path(sys.prefix), library, *code, *further):
        for file in _files(folder):
            _evict(file)


def _files(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        yield from (os.path.join(parent, name) for name in names)


def _evict(file: str) -> None:
    with suppress(OSError):  # gone meanwhile, or a link to nowhere
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
