"""Versions in an object store, which knows no rename: claimed, uploaded, then told (keys.py).

Everything rests on exclusive creation, of which an object store must be capable: S3 with
`If-None-Match: *`, Google's and Azure's stores likewise. Whoever creates a claim has its number;
whoever creates the next change has made it. A publisher that dies leaves a claim without a
manifest: that number is never given again, and after LEFTOVER_S what it uploaded is deleted.
"""

import hashlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from services.common.errors import ConfigurationError, ModelRefusedError, UnavailableError
from services.common.models.artefacts import StoredFile
from services.common.models.cache import FileCache
from services.common.models.manifest import MANIFEST_FILE
from services.common.models.stores.filesystem import Filesystem, modified_at
from services.common.models.stores.interface import KEPT_CHANGES, RELEASES, Draft, Generation
from services.common.models.stores.keys import CLAIM, ModelKeys, read_keys

RANGE_BYTES: Final = 2**24
"""A file is read in pieces of this size: each is a call with a time limit of its own."""

UPLOAD_S: Final = 6 * 3600.0
"""A publisher whose upload took longer gives up, as others may be about to clean up after it."""

LEFTOVER_S: Final = 24 * 3600.0
"""Files of a number without a manifest are deleted after this time."""


class ObjectStore:
    """See Store. `fetch` brings files into a cache on this machine."""

    def __init__(self, files: Filesystem, cache: FileCache) -> None:
        self._files = files
        self._cache = cache
        self._proven = False
        self._closed = False

    @property
    def url(self) -> str:
        """See Store."""
        return self._files.url

    def generation(self) -> Generation:
        """See Store; one listing of everything."""
        found = set()
        for name, keys in read_keys(self._files.find()).items():
            found |= {(name, version, keys.stamp(version)) for version in keys.versions}
            if keys.changes:
                found.add((name, 0, keys.last_change))
        return frozenset(found)

    def versions(self, name: str) -> list[int]:
        """See Store."""
        return self._keys(name).versions

    def manifest(self, name: str, version: int) -> bytes:
        """See Store."""
        return self._files.read(_key(name, version, MANIFEST_FILE))

    def fetch(self, name: str, version: int, stored: StoredFile) -> Path:
        """See Store; a file in the cache."""

        def download(stream: BinaryIO) -> None:
            stream.writelines(self._checked(name, version, stored))

        return self._cache.get(stored, download)

    def verify(self, name: str, version: int, stored: StoredFile) -> None:
        """See Store."""
        for _ in self._checked(name, version, stored):
            pass

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """See Store."""
        self._prove_exclusive_creation()
        with tempfile.TemporaryDirectory(prefix="facet-") as folder:
            yield _ObjectDraft(self, name, Path(folder))

    def remove(self, name: str, version: int) -> None:
        """See Store. The manifest goes first: a reader that has it may miss a file, not more."""
        files = self._keys(name).numbers.get(version, {})
        if MANIFEST_FILE not in files:
            raise FileNotFoundError(f"{self.url}/{name}/{version}")
        if CLAIM not in files:
            # It was copied here without one; the number must stay taken.
            with suppress(FileExistsError):
                self._claim(name, version)
        self._files.delete(_key(name, version, MANIFEST_FILE))
        for file in files.keys() - {MANIFEST_FILE, CLAIM}:
            self._files.delete(_key(name, version, file))

    def last_change(self, name: str) -> int:
        """See Store."""
        return read_keys(self._files.find(f"{name}/{RELEASES}")).get(name, ModelKeys()).last_change

    def change(self, name: str, sequence: int) -> bytes:
        """See Store."""
        return self._files.read(_change_key(name, sequence))

    def write_change(self, name: str, sequence: int, content: bytes) -> None:
        """See Store."""
        self._prove_exclusive_creation()
        self._files.create(_change_key(name, sequence), content)
        if sequence > KEPT_CHANGES:
            self._files.delete(_change_key(name, sequence - KEPT_CHANGES))

    def close(self) -> None:
        """See Store; a download ends after the piece that it is at."""
        self._closed = True
        self._cache.close()

    def publish(self, name: str, folder: Path, manifest: Callable[[int], bytes]) -> None:
        """Upload the files of a folder as the next version of a model."""
        keys = self._keys(name)
        self._delete_leftovers(name, keys)
        version, began = self._claim_next(name, keys.next_number), time.monotonic()
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        try:
            for file, path in files.items():
                self._files.upload(path, _key(name, version, file))
            self._check_upload(name, version, files)
            if time.monotonic() - began > UPLOAD_S:
                raise _unavailable(
                    f"the upload of {name}:{version} to {self.url} took more than "
                    f"{UPLOAD_S / 3600:.0f} h"
                )
        except BaseException:
            with suppress(UnavailableError):
                for file in files:
                    self._files.delete(_key(name, version, file))
            raise
        # Not undone when it fails: it may have arrived all the same.
        self._files.create(_key(name, version, MANIFEST_FILE), manifest(version))

    def _keys(self, name: str) -> ModelKeys:
        return read_keys(self._files.find(name)).get(name, ModelKeys())

    def _checked(self, name: str, version: int, stored: StoredFile) -> Iterator[bytes]:
        """Read a file; ModelRefusedError, at the end at the latest, when it is not whole."""
        key = _key(name, version, stored.file)
        where = f"{self.url}/{key}"
        try:
            size = self._files.size(key)
            if size != stored.bytes:
                raise ModelRefusedError(
                    f"{where} has {size} bytes, and its manifest says {stored.bytes}"
                )
            digest = hashlib.sha256()
            for start in range(0, size, RANGE_BYTES):
                if self._closed:
                    raise _unavailable(f"{where} is not read any further: it was closed")
                content = self._files.read_range(key, start, min(start + RANGE_BYTES, size))
                digest.update(content)
                yield content
        except FileNotFoundError:
            raise ModelRefusedError(f"{where} cannot be read: there is no such file") from None
        if digest.hexdigest() != stored.sha256:
            raise ModelRefusedError(f"{where} was altered: its sha256 is not the manifest's")

    def _check_upload(self, name: str, version: int, files: dict[str, Path]) -> None:
        arrived = self._keys(name).numbers.get(version, {})
        for file, path in files.items():
            if file not in arrived or arrived[file]["size"] != path.stat().st_size:
                raise _unavailable(f"{self.url}/{_key(name, version, file)} did not arrive whole")

    def _claim_next(self, name: str, number: int) -> int:
        while True:
            try:
                self._claim(name, number)
            except FileExistsError:
                number = max(number + 1, self._keys(name).next_number)
            else:
                return number

    def _claim(self, name: str, number: int) -> None:
        # No two claims are alike: see Filesystem.create.
        self._files.create(_key(name, number, CLAIM), f"{uuid.uuid4().hex}\n".encode())

    def _delete_leftovers(self, name: str, keys: ModelKeys) -> None:
        """Delete what publishers and removers that died left behind; readers never see it."""
        for number, files in keys.numbers.items():
            left = files.keys() - {CLAIM}
            if MANIFEST_FILE in files or CLAIM not in files or not left:
                continue
            times = [modified_at(files[file]) for file in left]
            if all(at is not None and time.time() - at > LEFTOVER_S for at in times):
                for file in left:
                    self._files.delete(_key(name, number, file))

    def _prove_exclusive_creation(self) -> None:
        """Find out, once, whether of two that create a file the second is refused.

        Filesystems differ, and servers that speak S3's protocol do: some overwrite silently.
        """
        if self._proven:
            return
        key = f".proof-{uuid.uuid4().hex}"
        try:
            self._files.create(key, b"first")
            self._files.create(key, b"second")
        except FileExistsError:
            self._proven = True
        finally:
            with suppress(UnavailableError):
                self._files.delete(key)
        if not self._proven:
            raise ConfigurationError(
                f"{self.url} lets two writers create one file, so that versions could be lost: "
                f"it can be read from, but not published to",
                reason="REPOSITORY_NOT_EXCLUSIVE",
            )


class _ObjectDraft:
    """See Draft."""

    def __init__(self, store: ObjectStore, name: str, folder: Path) -> None:
        self._store = store
        self._name = name
        self.folder = folder

    def publish(self, manifest: Callable[[int], bytes]) -> None:
        """See Draft."""
        self._store.publish(self._name, self.folder, manifest)


def _unavailable(message: str) -> UnavailableError:
    return UnavailableError(message, reason="REPOSITORY_UNAVAILABLE")


def _key(name: str, version: int, file: str) -> str:
    return f"{name}/{version}/{file}"


def _change_key(name: str, sequence: int) -> str:
    return f"{name}/{RELEASES}/{sequence}.json"
