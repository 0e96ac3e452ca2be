"""flock(2) with a time limit: the kernel gives a lock back when its process dies, however."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.01


def lock(descriptor: int, timeout_s: float, *, shared: bool = False) -> bool:
    """Lock an open file; False when others held it for all that time. 0: do not wait."""
    operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB
    give_up = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            if time.monotonic() >= give_up:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def is_still(path: Path, descriptor: int) -> bool:
    """Say whether a path still leads to the file that is open: it may have been replaced."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
