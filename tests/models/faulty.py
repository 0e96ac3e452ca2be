"""Object stores in memory that behave as real ones may."""

from collections.abc import Callable
from typing import Any

from fsspec.implementations.memory import MemoryFileSystem


class Overwriting(MemoryFileSystem):
    """Ignores that a file is to be created: as servers do that do not know `If-None-Match`."""

    protocol = "overwriting"
    cachable = False

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write a file."""
        super().pipe_file(path, value)


class Faulty(MemoryFileSystem):
    """Calls a function after each file is created, and cuts what is uploaded."""

    protocol = "faulty"
    cachable = False

    created: Callable[[str], None] = staticmethod(lambda path: None)
    uploaded_bytes: int | None = None

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: Any) -> None:
        """Write a file."""
        super().pipe_file(path, value, mode=mode)
        type(self).created(path)

    def put_file(self, lpath: str, rpath: str, **options: Any) -> None:
        """Upload a file."""
        with open(lpath, "rb") as file:
            super().pipe_file(rpath, file.read()[: self.uploaded_bytes])
