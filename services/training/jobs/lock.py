"""One training of a model at a time."""

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from services.common.errors import InvalidRequestError, UnavailableError
from services.training.jobs.storage import Storage

LOCK: Final = "lock"
BEAT_S: Final = 10.0
STALE_S: Final = 60.0
"""A lock without a heartbeat for so long is nobody's. Clocks must agree better than that."""


@contextmanager
def training_lock(storage: Storage, model: str) -> Iterator[None]:
    """Hold the lock of a model's trainings for the block.

    Raises InvalidRequestError (TRAINING_RUNNING) when another process holds it. On this machine's
    file systems the kernel frees it when its holder ends, however it ends; elsewhere a file is
    created exclusively and renewed every 10 s, and whoever finds one of a minute ago takes over.
    """
    if storage.local is not None:
        with _flock(storage.local, model):
            yield
    else:
        with _heartbeat(storage, model):
            yield


def _running(model: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"{model!r} is being trained already; wait for it, or train under another --name",
        reason="TRAINING_RUNNING",
    )


@contextmanager
def _flock(folder: Path, model: str) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UnavailableError(
            f"cannot write to {folder}: {error.strerror}", reason="REPOSITORY_UNAVAILABLE"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _running(model) from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _heartbeat(storage: Storage, model: str) -> Iterator[None]:
    token = secrets.token_hex(8)
    _acquire(storage, token, model)
    over = threading.Event()
    beat = threading.Thread(target=_beat, args=(storage, token, over), daemon=True)
    beat.start()
    try:
        yield
    finally:
        over.set()
        beat.join()
        if _holder(storage) == token:
            storage.remove(LOCK)


def _acquire(storage: Storage, token: str, model: str) -> None:
    for _ in range(2):
        try:
            storage.create(LOCK, _content(token))
        except FileExistsError:
            if not _stale(storage):
                raise _running(model) from None
            storage.remove(LOCK)
        else:
            return
    raise _running(model)


def _beat(storage: Storage, token: str, over: threading.Event) -> None:
    while not over.wait(BEAT_S):
        # A beat that fails is tried again; a lock that another one took over is left to it.
        with suppress(UnavailableError):
            if _holder(storage) != token:
                return
            storage.write(LOCK, _content(token))


def _content(token: str) -> bytes:
    return f"{token} {time.time():.0f}".encode()


def _holder(storage: Storage) -> str:
    return (storage.read(LOCK) or b"").decode().partition(" ")[0]


def _stale(storage: Storage) -> bool:
    beat = (storage.read(LOCK) or b"").decode().partition(" ")[2]
    return not beat.isdigit() or time.time() - int(beat) > STALE_S
