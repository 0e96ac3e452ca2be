"""Repositories of every kind."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from services.common.models.cache import FileCache
from services.common.models.repository import ModelRepository


@dataclass(frozen=True)
class Place:
    """Where a repository lies, and what its files are to somebody who changes them by hand."""

    url: str
    cache: FileCache

    def open(self) -> ModelRepository:
        """Return the repository, as another process would have it."""
        return ModelRepository.open(self.url, self.cache)

    def read(self, path: str) -> bytes:
        """Return a file's content."""
        content: bytes = self._files.cat_file(self._full(path))
        return content

    def write(self, path: str, content: bytes) -> None:
        """Write a file."""
        full = self._full(path)
        self._files.makedirs(full.rsplit("/", 1)[0], exist_ok=True)
        self._files.pipe_file(full, content)

    def alter(self, path: str) -> None:
        """Change one bit of a file."""
        content = bytearray(self.read(path))
        content[len(content) // 2] ^= 1
        self.write(path, bytes(content))

    def delete(self, path: str) -> None:
        """Delete a file."""
        self._files.rm_file(self._full(path))

    def paths(self) -> list[str]:
        """Return the paths of all files, sorted."""
        root = self._files._strip_protocol(self._url)
        return sorted(path.removeprefix(f"{root}/") for path in self._files.find(root))

    @property
    def _url(self) -> str:
        return self.url if "://" in self.url else Path(self.url).absolute().as_uri()

    @cached_property
    def _files(self) -> Any:
        import fsspec

        return fsspec.url_to_fs(self._url, use_listings_cache=False)[0]

    def _full(self, path: str) -> str:
        return f"{self._url}/{path}"


KINDS = ("path", "file", "memory", "s3")
"""The last two are object stores."""


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[FileCache]:
    """An empty cache."""
    cache = FileCache(tmp_path / "cache", 2**30)
    yield cache
    cache.close()


def make_place(kind: str, request: pytest.FixtureRequest, cache: FileCache) -> Place:
    """Return an empty place of a kind."""
    match kind:
        case "path":
            url = str(request.getfixturevalue("tmp_path") / "models")
        case "file":
            url = (request.getfixturevalue("tmp_path") / "models").as_uri()
        case "memory":
            url = f"memory://{uuid.uuid4().hex}"
        case _:
            url = request.getfixturevalue("s3_url")
    return Place(url, cache)


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, cache: FileCache) -> Place:
    """An empty place for a repository, of every kind."""
    return make_place(request.param, request, cache)


@pytest.fixture(params=KINDS[2:])
def object_place(request: pytest.FixtureRequest, cache: FileCache) -> Place:
    """An empty place in an object store, of every kind."""
    return make_place(request.param, request, cache)


@pytest.fixture
def s3_place(request: pytest.FixtureRequest, cache: FileCache) -> Place:
    """An empty place on a real S3 server."""
    return make_place("s3", request, cache)


@pytest.fixture
def repository(place: Place) -> ModelRepository:
    """An empty repository, of every kind."""
    return place.open()
