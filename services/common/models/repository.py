"""The model repository: `<root>/<model>/<version>/manifest.json` with the artefacts beside it."""

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import unquote, urlsplit

from services.common.errors import (
    InvalidRequestError,
    ModelNotFoundError,
    ModelRefusedError,
    UnavailableError,
)
from services.common.models import staging
from services.common.models.golden import GoldenExamples
from services.common.models.manifest import MANIFEST_FILE, Manifest, VersionContent, check_name
from services.common.models.releases import Releases

Generation = frozenset[tuple[str, int, int]]
"""(name, version, change time of its folder in ns) of every version, and (name, 0, sequence) of
the releases of every model; equal: nothing changed."""

Build = Callable[[Path], VersionContent]
"""Writes a version's files into a folder and says what they are."""


class ModelRepository:
    """Models in a folder. Any number of processes may read and write it at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the repository at a path or a `file:///path` URL; it need not exist yet.

        Raises InvalidRequestError for any other URL.
        """
        parts = urlsplit(url)
        if "://" not in url:
            path = url
        elif parts.scheme == "file" and parts.netloc in ("", "localhost"):
            path = unquote(parts.path)
        else:
            raise InvalidRequestError(
                f"a model repository is a folder: a path or file:///path, not {url!r}"
            )
        if not path:
            raise InvalidRequestError("the path of the model repository is empty")
        return cls(Path(path).absolute())

    @property
    def root(self) -> Path:
        """The folder of the repository."""
        return self._root

    def list_models(self) -> tuple[str, ...]:
        """Return the names of all models that have a version, sorted."""
        return tuple(sorted({name for name, version, _ in self.generation() if version}))

    def versions(self, name: str) -> tuple[int, ...]:
        """Return the versions of a model, ascending; none for an unknown model."""
        return tuple(staging.version_numbers(self._root / check_name(name)))

    def latest(self, name: str) -> int:
        """Return the highest version of a model; ModelNotFoundError when it has none."""
        versions = self.versions(name)
        if not versions:
            raise ModelNotFoundError(f"there is no model {name!r} in {self._root}")
        return versions[-1]

    def generation(self) -> Generation:
        """Return which versions there are; looks at folders only, and opens no file.

        A version never changes, so a process that polls has to load only what is new.
        """
        found = set()
        for name in self._model_folders():
            for version in staging.version_numbers(self._root / name):
                with suppress(FileNotFoundError):
                    changed = (self._root / name / str(version)).stat().st_mtime_ns
                    found.add((name, version, changed))
            if (sequence := staging.last_change(self._root / name)) > 0:
                found.add((name, 0, sequence))
        return frozenset(found)

    def load_manifest(self, name: str, version: int) -> Manifest:
        """Return the manifest of a version.

        Raises ModelNotFoundError when there is no such version, and ModelRefusedError, naming the
        file, when its manifest is missing, torn, altered or another version's.
        """
        folder = self._folder(name, version)
        path = folder / MANIFEST_FILE
        try:
            text = path.read_bytes()
        except OSError as error:
            if not folder.is_dir():
                raise ModelNotFoundError(
                    f"there is no version {version} of model {name!r} in {self._root}"
                ) from error
            raise ModelRefusedError(f"{path} cannot be read: {error.strerror}") from error
        manifest = Manifest.from_json(text, str(path))
        if (manifest.name, manifest.version) != (name, version):
            raise ModelRefusedError(f"{path} belongs to {manifest.name}:{manifest.version}")
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
        return artefact.verify(self._folder(manifest.name, manifest.version))

    def golden_examples(self, manifest: Manifest) -> GoldenExamples:
        """Return the golden examples of a version; ModelRefusedError when they are not whole."""
        if manifest.golden is None:
            raise ModelRefusedError(f"{manifest.key} is an ensemble: its members have examples")
        return GoldenExamples.load(
            manifest.golden.verify(self._folder(manifest.name, manifest.version))
        )

    def verify(self, manifest: Manifest) -> None:
        """Raise ModelRefusedError, naming the file, when any file of a version is not whole."""
        for stored in manifest.files:
            stored.verify(self._folder(manifest.name, manifest.version))

    def publish(self, name: str, build: Build) -> Manifest:
        """Let `build` write a new version of a model, and publish it under the next free number.

        Other processes see the version whole or not at all, whatever happens to this one. Raises
        what `build` raises, ModelRefusedError when the files are not what it says they are, and
        UnavailableError (REPOSITORY_UNAVAILABLE) when the disk does not take them.
        """
        model_folder = self._root / check_name(name)
        published: list[Manifest] = []
        try:
            with staging.staging_folder(model_folder) as folder:
                content = build(folder)
                for stored in content.files:
                    stored.verify(folder)

                def finish(version: int) -> None:
                    manifest = Manifest.of(content, name, version, datetime.now(UTC))
                    (folder / MANIFEST_FILE).write_bytes(manifest.to_json())
                    published.append(manifest)

                staging.publish(model_folder, folder, finish)
        except OSError as error:
            raise UnavailableError(
                f"cannot write a version of {name!r} to {self._root}: {error.strerror or error}",
                reason="REPOSITORY_UNAVAILABLE",
            ) from error
        return published[0]

    def remove(self, name: str, version: int) -> None:
        """Remove a version for good; its number is not used again.

        Raises ModelNotFoundError when there is none, UnavailableError when the disk refuses.
        """
        folder = self._folder(name, version)
        try:
            if not folder.is_dir():
                raise FileNotFoundError
            staging.remove(folder.parent, version)
        except FileNotFoundError:
            raise ModelNotFoundError(
                f"there is no version {version} of model {name!r} in {self._root}"
            ) from None
        except OSError as error:
            raise UnavailableError(
                f"cannot remove {name}:{version} from {self._root}: {error.strerror or error}",
                reason="REPOSITORY_UNAVAILABLE",
            ) from error

    def releases(self, name: str) -> Releases:
        """Return what was decided about the versions of a model, if anything was.

        Raises ModelRefusedError, naming the file, when the record is not whole.
        """
        folder = self._root / check_name(name)
        sequence = staging.last_change(folder)
        if not sequence:
            return Releases()
        path = staging.change_path(folder, sequence)
        return Releases.from_json(path.read_bytes(), str(path))

    def change_releases(self, name: str, change: Callable[[Releases], Releases]) -> Releases:
        """Apply a change to the releases of a model, and return what they are now.

        `change` is called again with what another process decided meanwhile. Raises what it
        raises, and UnavailableError (REPOSITORY_UNAVAILABLE) when the disk does not take it.
        """
        folder = self._root / check_name(name)
        while True:
            before = self.releases(name)
            after = change(before)
            if after.sequence == before.sequence:
                return after
            try:
                staging.write_change(folder, after.sequence, after.to_json())
            except FileExistsError:
                continue
            except OSError as error:
                raise UnavailableError(
                    f"cannot change the releases of {name!r} in {self._root}: "
                    f"{error.strerror or error}",
                    reason="REPOSITORY_UNAVAILABLE",
                ) from error
            return after

    def _folder(self, name: str, version: int) -> Path:
        return self._root / check_name(name) / str(version)

    def _model_folders(self) -> list[str]:
        try:
            with os.scandir(self._root) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []
        valid = []
        for name in names:
            with suppress(InvalidRequestError):
                valid.append(check_name(name))
        return valid
