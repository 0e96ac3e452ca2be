"""A version folder is written beside its final place, then renamed: whole or not at all.

    <model>/.lock             held while a version gets its number, or is removed
    <model>/.staging-<id>/    being written by the process that holds a lock on the folder
    <model>/.removed-<n>      version n existed once; its number is not given again
    <model>/<n>/              version n, never changed afterwards
    <model>/releases/<n>.json the nth change of what is served (releases.py)

The locks are flock(2): the kernel gives them back when their process dies, however it dies, and
so tells a dead publisher's folder from a living one's.
"""

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from services.common.errors import UnavailableError
from services.common.models.file_locks import lock
from services.common.models.stores.interface import KEPT_CHANGES, RELEASES, is_version

LOCK_TIMEOUT_S: Final = 30.0
"""The lock is held for a rename or so; whoever holds it longer is stopped or on a dead disk."""

_LOCK_FILE: Final = ".lock"
_STAGING: Final = ".staging-"
_REMOVED: Final = ".removed-"


def version_numbers(model_folder: Path) -> list[int]:
    """Return the published versions in a model's folder, ascending; none when it is missing."""
    try:
        with os.scandir(model_folder) as entries:
            names = [entry.name for entry in entries if is_version(entry.name) and entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(map(int, names))


@contextlib.contextmanager
def staging_folder(model_folder: Path) -> Iterator[Path]:
    """Yield an empty folder to write a version into; it is gone afterwards unless published.

    Folders that dead publishers left behind are removed on the way. Raises OSError, and
    UnavailableError when the model's lock is held for too long.
    """
    model_folder.mkdir(parents=True, exist_ok=True)
    folder = model_folder / f"{_STAGING}{uuid.uuid4().hex}"
    with _locked(model_folder):
        _remove_abandoned(model_folder)
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        lock(descriptor, LOCK_TIMEOUT_S)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def publish(model_folder: Path, folder: Path, finish: Callable[[int], None]) -> int:
    """Make a staging folder the next version of its model and return the number.

    `finish` is told the number and writes what depends on it into the folder, before the folder
    becomes visible. Everything is on the disk when this returns.
    """
    with _locked(model_folder):
        version = 1 + max(version_numbers(model_folder) + _removed_numbers(model_folder), default=0)
        finish(version)
        for path in folder.iterdir():
            _sync(path)
        _sync(folder)
        folder.rename(model_folder / str(version))
        _sync(model_folder)
    return version


def remove(model_folder: Path, version: int) -> None:
    """Remove a version; raises FileNotFoundError when there is none.

    It vanishes at once and whole: a process that is reading it fails, it never reads half.
    """
    with _locked(model_folder):
        trash = model_folder / f"{_STAGING}{uuid.uuid4().hex}"
        (model_folder / f"{_REMOVED}{version}").touch()
        (model_folder / str(version)).rename(trash)
        _sync(model_folder)
    shutil.rmtree(trash, ignore_errors=True)


def last_change(model_folder: Path) -> int:
    """Return the number of the last change of a model's releases; 0: there was none."""
    try:
        names = os.listdir(model_folder / RELEASES)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return max((int(stem) for stem in stems if is_version(stem)), default=0)


def change_path(model_folder: Path, sequence: int) -> Path:
    """Return the file of a change."""
    return model_folder / RELEASES / f"{sequence}.json"


def write_change(model_folder: Path, sequence: int, content: bytes) -> None:
    """Write a change whole or not at all; FileExistsError when there is one of that number."""
    path = change_path(model_folder, sequence)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f"{_STAGING}{uuid.uuid4().hex}"
    try:
        draft.write_bytes(content)
        _sync(draft)
        os.link(draft, path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)
    (path.parent / f"{sequence - KEPT_CHANGES}.json").unlink(missing_ok=True)


def _removed_numbers(model_folder: Path) -> list[int]:
    names = (path.name.removeprefix(_REMOVED) for path in model_folder.glob(f"{_REMOVED}*"))
    return [int(name) for name in names if is_version(name)]


def _remove_abandoned(model_folder: Path) -> None:
    for folder in model_folder.glob(f"{_STAGING}*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if lock(descriptor, 0):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


@contextlib.contextmanager
def _locked(model_folder: Path) -> Iterator[None]:
    descriptor = os.open(model_folder / _LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not lock(descriptor, LOCK_TIMEOUT_S):
            raise UnavailableError(
                f"another process has held the lock of {model_folder} for {LOCK_TIMEOUT_S:.0f} s",
                reason="REPOSITORY_LOCKED",
            )
        yield
    finally:
        os.close(descriptor)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
