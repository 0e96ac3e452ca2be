"""Threads that decode give up writing to the file system: landlock(7), prctl(2).

It holds for the thread that asks, and for what it starts, for good. The thread of the event loop
keeps its rights: it enters the process in a registry of files, and opens the memory that gateways
share, which a confined thread must not (Landlock forbids it to look into other processes). So this
stops a decoder that is brought to open, truncate, remove or make a file; it is no wall against
one whose attacker has taken over the whole process.
"""

import ctypes
import errno
import os
from functools import cache
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
"""Numbers of system calls, the same on every architecture; the C library has no names for them."""
_VERSION: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38

_WRITE_FILE: Final = 1 << 1
_REMOVE_AND_MAKE: Final = sum(1 << bit for bit in range(4, 13))
"""Remove folders and files; make devices, folders, files, sockets, pipes and links."""
_REFER: Final = 1 << 13
"""Move a file to another folder; since version 2."""
_TRUNCATE: Final = 1 << 14
"""Since version 3."""


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of Landlock that the kernel has; 0: none, or switched off."""
    found: int = _libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)
    return max(0, found)


def give_up_writing() -> bool:
    """Let this thread never open a file for writing again, nor change a folder.

    What is open stays open, and memory that was mapped stays writable. False where the kernel has
    no Landlock: then the thread only gains no privileges by what it runs.
    """
    if _libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1:
        _raise()
    has = version()
    if not has:
        return False
    rights = _WRITE_FILE | _REMOVE_AND_MAKE
    rights |= (_REFER if has >= 2 else 0) | (_TRUNCATE if has >= 3 else 0)
    handled = ctypes.c_uint64(rights)
    size = ctypes.c_size_t(ctypes.sizeof(handled))
    ruleset = _libc().syscall(_CREATE_RULESET, ctypes.byref(handled), size, 0)
    if ruleset == -1:
        _raise()
    try:
        if _libc().syscall(_RESTRICT_SELF, ruleset, 0) == -1:
            _raise()
    finally:
        os.close(ruleset)
    return True


def confine_decoder() -> None:
    """Begin a thread that decodes. It begins unconfined, with a line in the log, where it must."""
    try:
        confined = give_up_writing()
        reason = "the kernel has no Landlock"
    except OSError as error:
        confined, reason = False, errno.errorcode.get(error.errno or 0, str(error))
    if not confined:
        log.warning("a decoder is not kept from writing files", reason=reason)


def _raise() -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number))
