"""A folder of any file system, whose files are there whole or not at all."""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.common.errors import UnavailableError
from services.common.models.stores.filesystem import Filesystem


class Storage:
    """A folder at a URL of fsspec or a local path.

    Every method raises UnavailableError (REPOSITORY_UNAVAILABLE) when the file system refuses.
    """

    def __init__(self, url: str) -> None:
        """Open it; raises as `Filesystem.open` does. Nothing need be there yet."""
        self.url = url.rstrip("/")
        self._files = Filesystem.open(
            self.url if "://" in self.url else f"file://{Path(self.url).absolute()}"
        )

    def sub(self, name: str) -> "Storage":
        """Return the folder of that name in it."""
        return Storage(f"{self.url}/{name}")

    @property
    def local(self) -> Path | None:
        """The folder, where it is one of this machine's file system."""
        return self._files.local

    def names(self) -> list[str]:
        """Return what is in the folder, sorted; nothing when it is missing."""
        return self._files.names()

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None when there is none."""
        try:
            return self._files.read(name)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in the place of the former one."""
        self._files.write(name, content)

    def create(self, name: str, content: bytes) -> None:
        """Write a file that does not exist yet; FileExistsError when it does."""
        self._files.create(name, content)

    def remove(self, name: str) -> None:
        """Remove a file or a folder with all that is in it; nothing happens when it is missing."""
        self._files.delete_tree(name)

    def write_array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write an array as a .npy file."""
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        self.write(name, buffer.getvalue())

    @contextmanager
    def array(self, name: str) -> Iterator[npt.NDArray[Any]]:
        """Open an array that `write_array` wrote; it is mapped, not loaded, for the block."""
        with tempfile.TemporaryDirectory() as scratch:
            try:
                if self.local is not None:
                    file = self.local / name
                else:
                    file = Path(scratch) / name
                    self._files.download(name, file)
                mapped = np.load(file, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise UnavailableError(
                    f"cannot read {self.url}/{name}: {error}", reason="REPOSITORY_UNAVAILABLE"
                ) from error
        # A mapped file that was removed stays until nobody maps it any more.
        yield mapped
