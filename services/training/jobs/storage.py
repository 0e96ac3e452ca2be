"""A folder of any file system, whose files are there whole or not at all."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self

import fsspec
import numpy as np
import numpy.typing as npt

from services.common.errors import UnavailableError

PART: Final = ".part"
"""Ends the names of files that are being written."""


class Storage:
    """A folder at a URL of fsspec or a local path.

    Every method raises UnavailableError (REPOSITORY_UNAVAILABLE) when the file system refuses.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        with _told(f"cannot open {url}"):
            self.fs, self._path = fsspec.core.url_to_fs(self.url)

    def sub(self, name: str) -> Self:
        """Return the folder of that name in it."""
        return type(self)(f"{self.url}/{name}")

    @property
    def local(self) -> Path | None:
        """The folder, where it is one of this machine's file system."""
        protocols = self.fs.protocol
        is_local = "file" in ([protocols] if isinstance(protocols, str) else protocols)
        return Path(self._path) if is_local else None

    def path(self, name: str) -> str:
        """Return the path of a file for `fs`."""
        return f"{self._path}/{name}"

    def names(self) -> list[str]:
        """Return what is in the folder, sorted; nothing when it is missing."""
        with _told(f"cannot list {self.url}"):
            self.fs.invalidate_cache()
            try:
                found = self.fs.ls(self._path, detail=False)
            except (FileNotFoundError, NotADirectoryError):
                return []
        names = (str(path).rstrip("/").rpartition("/")[2] for path in found)
        return sorted(name for name in names if not name.endswith(PART))

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None when there is none."""
        with _told(f"cannot read {self.url}/{name}"):
            try:
                return bytes(self.fs.cat_file(self.path(name)))
            except FileNotFoundError:
                return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside, then put it in the place of the former one."""
        path = self.path(name)
        with _told(f"cannot write {self.url}/{name}"):
            try:
                self.fs.makedirs(self._path, exist_ok=True)
                self.fs.pipe_file(path + PART, content)
                self.fs.mv(path + PART, path)
            except BaseException:
                with suppress(OSError):
                    self.fs.rm_file(path + PART)
                raise

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens when it is missing."""
        with _told(f"cannot remove {self.url}/{name}"), suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    def write_array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write an array as a .npy file."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.write(name, buffer.getvalue())

    @contextmanager
    def array(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """Open an array that `write_array` wrote; it is mapped, not loaded, for the block."""
        with _told(f"cannot read {self.url}/{name}"), tempfile.TemporaryDirectory() as scratch:
            if self.local is not None:
                file = self.local / name
            else:
                file = Path(scratch) / name
                self.fs.get_file(self.path(name), str(file))
            mapped = np.load(file, mmap_mode="r", allow_pickle=False)
        # A mapped file that was removed stays until nobody maps it any more.
        yield mapped


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise UnavailableError(f"{what}: {reason}", reason="REPOSITORY_UNAVAILABLE") from error
