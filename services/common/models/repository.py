"""The model repository: `<root>/<model>/<version>/manifest.json` with the artefacts beside it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from services.common.errors import (
    ConfigurationError,
    ModelNotFoundError,
    ModelRefusedError,
    UnavailableError,
)
from services.common.models.cache import FileCache
from services.common.models.golden import GoldenExamples
from services.common.models.manifest import MANIFEST_FILE, Manifest, VersionContent, check_name
from services.common.models.releases import Releases
from services.common.models.stores.folder import FolderStore
from services.common.models.stores.interface import RELEASES, Generation, Store
from services.common.models.stores.opening import open_store

__all__ = ["Build", "Generation", "ModelRepository"]

Build = Callable[[Path], VersionContent]
"""Writes a version's files into a folder and says what they are."""


class ModelRepository:
    """Models in a folder or an object store. Any number of processes may use it at once.

    Every method may raise UnavailableError (REPOSITORY_UNAVAILABLE) when the repository cannot be
    reached; one that reads artefacts of an object store also with CACHE_UNAVAILABLE.
    """

    def __init__(self, where: Path | Store) -> None:
        """Use a folder, or a store."""
        self._store = FolderStore(where) if isinstance(where, Path) else where

    @classmethod
    def open(cls, url: str, cache: FileCache | None = None) -> Self:
        """Return the repository at a path, a `file:///path` or a URL that fsspec knows.

        It need not exist yet. Artefacts of an object store are brought into `cache`; by default
        the one of FACET_CACHE. Raises InvalidRequestError for what is no such URL, and
        ConfigurationError when a package for it is not installed.
        """
        return cls(open_store(url, cache))

    @property
    def url(self) -> str:
        """Where it is, for people: a path or a URL."""
        return self._store.url

    @property
    def root(self) -> Path:
        """The folder of the repository; ConfigurationError for an object store, which has none."""
        if not isinstance(self._store, FolderStore):
            raise ConfigurationError(f"{self.url} is not a folder")
        return self._store.root

    def list_models(self) -> tuple[str, ...]:
        """Return the names of all models that have a version, sorted."""
        return tuple(sorted({name for name, version, _ in self.generation() if version}))

    def versions(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model, ascending; none for an unknown model."""
        with self._told("read"):
            return tuple(self._store.versions(check_name(name)))

    def latest(self, name: str) -> int:
        """Return the highest version of a model; ModelNotFoundError when it has none."""
        versions = self.versions(name)
        if not versions:
            raise ModelNotFoundError(f"there is no model {name!r} in {self.url}")
        return versions[-1]

    def generation(self) -> Generation:
        """Return which versions and releases there are; opens no file.

        A version never changes, so a process that polls has to load only what is new.
        """
        with self._told("read"):
            return self._store.generation()

    def load_manifest(self, name: str, version: int) -> Manifest:
        """Return the manifest of a version.

        Raises ModelNotFoundError when there is no such version, and ModelRefusedError, naming the
        file, when its manifest is missing, torn, altered or another version's.
        """
        where = f"{self.url}/{check_name(name)}/{version}/{MANIFEST_FILE}"
        with self._told("read"):
            try:
                text = self._store.manifest(name, version)
            except FileNotFoundError as error:
                raise self._no_version(name, version) from error
        manifest = Manifest.from_json(text, where)
        if (manifest.name, manifest.version) != (name, version):
            raise ModelRefusedError(f"{where} belongs to {manifest.name}:{manifest.version}")
        return manifest

    def artefact_path(self, manifest: Manifest, file_format: str) -> Path:
        """Return the checked local file of a version in a format.

        Raises ModelRefusedError when the version has no such artefact, or when the file is
        missing, torn or altered.
        """
        artefact = manifest.artefact(file_format)
        if artefact is None:
            raise ModelRefusedError(
                f"{manifest.name}:{manifest.version} has no {file_format} artefact"
            )
        return self._store.fetch(manifest.name, manifest.version, artefact)

    def golden_examples(self, manifest: Manifest) -> GoldenExamples:
        """Return the golden examples of a version; ModelRefusedError when they are not whole."""
        if manifest.golden is None:
            raise ModelRefusedError(f"{manifest.key} is an ensemble: its members have examples")
        return GoldenExamples.load(
            self._store.fetch(manifest.name, manifest.version, manifest.golden)
        )

    def verify(self, manifest: Manifest) -> None:
        """Raise ModelRefusedError, naming the file, when any file of a version is not whole."""
        for stored in manifest.files:
            self._store.verify(manifest.name, manifest.version, stored)

    def publish(self, name: str, build: Build) -> Manifest:
        """Let `build` write a new version of a model, and publish it under the next free number.

        Other processes see the version whole or not at all, whatever happens to this one. Raises
        what `build` raises, ModelRefusedError when the files are not what it says they are, and
        ConfigurationError (REPOSITORY_NOT_EXCLUSIVE) for an object store that cannot be published
        to safely.
        """
        published: list[Manifest] = []
        check_name(name)
        with self._told(f"write a version of {name!r} to"), self._store.draft(name) as draft:
            content = build(draft.folder)
            for stored in content.files:
                stored.verify(draft.folder)

            def manifest(version: int) -> bytes:
                published.append(Manifest.of(content, name, version, datetime.now(UTC)))
                return published[-1].to_json()

            draft.publish(manifest)
        return published[-1]

    def remove(self, name: str, version: int) -> None:
        """Remove a version for good; its number is not used again.

        It is retired first, so that nobody promotes it meanwhile. Raises ModelNotFoundError when
        there is none, and InvalidRequestError (IN_USE) when it is promoted or labelled.
        """
        with self._told(f"remove {name}:{version} from"):
            if version not in self.versions(name):
                raise self._no_version(name, version)
            self.change_releases(name, lambda releases: releases.retire(version))
            try:
                self._store.remove(name, version)
            except FileNotFoundError as error:
                raise self._no_version(name, version) from error
            self.change_releases(name, lambda releases: releases.without(version))

    def releases(self, name: str) -> Releases:
        """Return what was decided about the versions of a model, if anything was.

        Raises ModelRefusedError, naming the file, when the record is not whole.
        """
        with self._told("read"):
            sequence = self._store.last_change(check_name(name))
            if not sequence:
                return Releases()
            text = self._store.change(name, sequence)
        return Releases.from_json(text, f"{self.url}/{name}/{RELEASES}/{sequence}.json")

    def change_releases(self, name: str, change: Callable[[Releases], Releases]) -> Releases:
        """Apply a change to the releases of a model, and return what they are now.

        `change` is called again with what another process decided meanwhile. Raises what it
        raises.
        """
        while True:
            before = self.releases(name)
            after = change(before)
            if after.sequence == before.sequence:
                return after
            with self._told(f"change the releases of {name!r} in"), suppress(FileExistsError):
                self._store.write_change(name, after.sequence, after.to_json())
                return after

    def close(self) -> None:
        """Break off what goes on on another thread, such as a long download."""
        self._store.close()

    def _no_version(self, name: str, version: int) -> ModelNotFoundError:
        return ModelNotFoundError(f"there is no version {version} of model {name!r} in {self.url}")

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Tell in a sentence that something could not be done, instead of an OSError."""
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"cannot {what} {self.url}: {error.strerror or error}",
                reason="REPOSITORY_UNAVAILABLE",
            ) from error
