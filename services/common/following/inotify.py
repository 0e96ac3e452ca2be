"""Changes in folders, told by the kernel: inotify(7) through the C library.

Only that something changed is told, never what: who is woken looks again. That way lost,
merged and doubled events do no harm.
"""

import asyncio
import contextlib
import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Final

_CLOSE_WRITE: Final = 0x8
_MOVED_FROM: Final = 0x40
_MOVED_TO: Final = 0x80
_DELETE: Final = 0x200
_DELETE_SELF: Final = 0x400
_MOVE_SELF: Final = 0x800
_IGNORED: Final = 0x8000
_ONLYDIR: Final = 0x1000000
_CHANGES: Final = (
    _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _DELETE | _DELETE_SELF | _MOVE_SELF | _ONLYDIR
)
_HEADER: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_BUFFER: Final = 64 * 1024

Wake = Callable[[], None]


class Folders:
    """Wakes callers when something in their folder changes; one descriptor for all of them."""

    def __init__(self) -> None:
        self._libc: ctypes.CDLL | None = None
        self._descriptor: int | None = None
        self._wakes: dict[int, set[Wake]] = {}
        self._watches: dict[Wake, int] = {}

    def watch(self, folder: Path, wake: Wake) -> bool:
        """Call `wake` after every change in an existing folder; replaces its former folder.

        Cheap and harmless to repeat, and it must be repeated when the folder may have been
        removed and made again. False: the kernel cannot do it, the caller must look itself.
        """
        try:
            watch = self._add(folder)
        except (AttributeError, OSError):
            self.unwatch(wake)
            return False
        if self._watches.get(wake) != watch:
            self.unwatch(wake)
            self._watches[wake] = watch
            self._wakes.setdefault(watch, set()).add(wake)
        return True

    def unwatch(self, wake: Wake) -> None:
        """Never call `wake` again."""
        watch = self._watches.pop(wake, None)
        if watch is None or watch not in self._wakes:
            return
        self._wakes[watch].discard(wake)
        if not self._wakes[watch]:
            del self._wakes[watch]
            if self._libc is not None and self._descriptor is not None:
                self._libc.inotify_rm_watch(self._descriptor, watch)

    def close(self) -> None:
        """Free the descriptor."""
        self._wakes.clear()
        self._watches.clear()
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _add(self, folder: Path) -> int:
        if self._libc is None:
            self._libc = ctypes.CDLL(None, use_errno=True)
        if self._descriptor is None:
            self._descriptor = _checked(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
            asyncio.get_running_loop().add_reader(self._descriptor, self._read)
        return _checked(
            self._libc.inotify_add_watch(
                self._descriptor, os.fsencode(folder), ctypes.c_uint32(_CHANGES)
            )
        )

    def _read(self) -> None:
        assert self._descriptor is not None
        events = b""
        with contextlib.suppress(BlockingIOError):
            events = os.read(self._descriptor, _BUFFER)
        woken: set[Wake] = set()
        position = 0
        while position < len(events):
            watch, mask, _, length = _HEADER.unpack_from(events, position)
            position += _HEADER.size + length
            if watch == -1:  # the queue ran over: any folder may have changed
                woken.update(self._watches)
            elif mask & _IGNORED:  # the folder is gone, and so is the watch
                woken |= self._wakes.pop(watch, set())
            else:
                woken |= self._wakes.get(watch, set())
        for wake in woken:
            wake()


def _checked(result: int) -> int:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
