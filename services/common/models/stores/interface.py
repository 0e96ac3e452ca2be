"""What the repository needs of the place where its versions lie."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Protocol

from services.common.models.artefacts import StoredFile

Generation = frozenset[tuple[str, int, int]]
"""(name, version, stamp that changes with its files) of every version, and (name, 0, sequence) of
the releases of every model; equal: nothing changed."""

RELEASES: Final = "releases"
"""Folder of a model's changes, `<sequence>.json` each."""

KEPT_CHANGES: Final = 100
"""How many records of former releases stay, for people to look at."""


class Draft(Protocol):
    """A version that is being written."""

    @property
    def folder(self) -> Path:
        """A local folder to write its files into."""
        ...

    def publish(self, manifest: Callable[[int], bytes]) -> None:
        """Give the version the next number, and let others see all of it at once.

        `manifest` returns what to write into the manifest of that number.
        """
        ...


class Store(Protocol):
    """Models, versions and changes of releases as files.

    Names were checked before. Every method may raise OSError or UnavailableError
    (REPOSITORY_UNAVAILABLE) when the place cannot be reached.
    """

    @property
    def url(self) -> str:
        """Where it is, for people: a path or a URL."""
        ...

    def generation(self) -> Generation:
        """Return which versions and releases there are, without opening a file."""
        ...

    def versions(self, name: str) -> list[int]:
        """Return the versions of a model, ascending; none when there is no such model."""
        ...

    def manifest(self, name: str, version: int) -> bytes:
        """Return the content of a version's manifest.

        Raises FileNotFoundError when there is no such version, ModelRefusedError when there is
        one without a manifest that can be read.
        """
        ...

    def fetch(self, name: str, version: int, stored: StoredFile) -> Path:
        """Return a checked local file; ModelRefusedError when it is not what `stored` says."""
        ...

    def verify(self, name: str, version: int, stored: StoredFile) -> None:
        """Check a file and keep nothing of it; raises as `fetch` does."""
        ...

    def draft(self, name: str) -> AbstractContextManager[Draft]:
        """Return a new version to write; nothing of it stays unless it is published."""
        ...

    def remove(self, name: str, version: int) -> None:
        """Remove a version at once and whole; FileNotFoundError when there is none.

        Its number is not given again.
        """
        ...

    def last_change(self, name: str) -> int:
        """Return the number of the last change of a model's releases; 0: there was none."""
        ...

    def change(self, name: str, sequence: int) -> bytes:
        """Return the content of a change."""
        ...

    def write_change(self, name: str, sequence: int, content: bytes) -> None:
        """Write a change whole or not at all; FileExistsError when the number is taken."""
        ...

    def close(self) -> None:
        """Break off what goes on on another thread, as soon as may be."""
        ...


def is_version(name: str) -> bool:
    """Say whether a folder of this name is a version: a decimal number from 1 up."""
    return name.isascii() and name.isdigit() and not name.startswith("0")
