"""Versions in a folder that all processes see: written beside, then renamed (staging.py)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.artefacts import StoredFile
from services.common.models.manifest import MANIFEST_FILE, check_name
from services.common.models.stores import staging
from services.common.models.stores.interface import Draft, Generation


class FolderStore:
    """See Store. A reader needs no lock; a writer holds its model's for a rename."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def url(self) -> str:
        """See Store."""
        return str(self.root)

    def generation(self) -> Generation:
        """See Store; the stamp is the change time of the version's folder in ns."""
        found = set()
        for name in self._model_folders():
            for version in staging.version_numbers(self.root / name):
                with suppress(FileNotFoundError):
                    changed = (self.root / name / str(version)).stat().st_mtime_ns
                    found.add((name, version, changed))
            if (sequence := staging.last_change(self.root / name)) > 0:
                found.add((name, 0, sequence))
        return frozenset(found)

    def versions(self, name: str) -> list[int]:
        """See Store."""
        return staging.version_numbers(self.root / name)

    def manifest(self, name: str, version: int) -> bytes:
        """See Store."""
        folder = self._folder(name, version)
        path = folder / MANIFEST_FILE
        try:
            return path.read_bytes()
        except OSError as error:
            if not folder.is_dir():
                raise FileNotFoundError(folder) from error
            raise ModelRefusedError(f"{path} cannot be read: {error.strerror}") from error

    def fetch(self, name: str, version: int, stored: StoredFile) -> Path:
        """See Store; the file itself."""
        return stored.verify(self._folder(name, version))

    def verify(self, name: str, version: int, stored: StoredFile) -> None:
        """See Store."""
        stored.verify(self._folder(name, version))

    @contextmanager
    def draft(self, name: str) -> Iterator[Draft]:
        """See Store."""
        with staging.staging_folder(self.root / name) as folder:
            yield _FolderDraft(self.root / name, folder)

    def remove(self, name: str, version: int) -> None:
        """See Store."""
        folder = self._folder(name, version)
        if not folder.is_dir():
            raise FileNotFoundError(folder)
        staging.remove(folder.parent, version)

    def last_change(self, name: str) -> int:
        """See Store."""
        return staging.last_change(self.root / name)

    def change(self, name: str, sequence: int) -> bytes:
        """See Store."""
        return staging.change_path(self.root / name, sequence).read_bytes()

    def write_change(self, name: str, sequence: int, content: bytes) -> None:
        """See Store."""
        staging.write_change(self.root / name, sequence, content)

    def close(self) -> None:
        """See Store; nothing takes long here."""

    def _folder(self, name: str, version: int) -> Path:
        return self.root / name / str(version)

    def _model_folders(self) -> list[str]:
        try:
            with os.scandir(self.root) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except FileNotFoundError:
            return []
        valid = []
        for name in names:
            with suppress(InvalidRequestError):
                valid.append(check_name(name))
        return valid


class _FolderDraft:
    """See Draft."""

    def __init__(self, model_folder: Path, folder: Path) -> None:
        self._model_folder = model_folder
        self.folder = folder

    def publish(self, manifest: Callable[[int], bytes]) -> None:
        """See Draft."""

        def finish(version: int) -> None:
            (self.folder / MANIFEST_FILE).write_bytes(manifest(version))

        staging.publish(self._model_folder, self.folder, finish)
