"""flock(2) with a time limit: the kernel gives a lock back when its process dies, however."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.01


def lock(
    descriptor: int, timeout_s: float, *, shared: bool = False, path: Path | None = None
) -> bool:
    """Lock an open file; False when others held it for all that time (0: do not wait).

    With `path` also False as soon as that does not lead to the file any more: it was deleted,
    renamed or replaced by who had the lock.
    """
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            if time.monotonic() >= give_up or not (path is None or is_still(path, descriptor)):
                return False
            time.sleep(_POLL_S)
        else:
            return path is None or is_still(path, descriptor)


def is_still(path: Path, descriptor: int) -> bool:
    """Say whether a path leads to the file that is open."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
