"""A folder as one file: a tar archive that is the same bytes for the same content.

An artefact is one file with one checksum; a SavedModel is a folder.
"""

import io
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from services.common.errors import ModelRefusedError

_BLOCK = 1 << 20


def pack(folder: Path, path: Path) -> None:
    """Write the files of a folder into an archive, sorted, without times and owners."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            entry = tarfile.TarInfo(file.relative_to(folder).as_posix())
            entry.size = file.stat().st_size
            with file.open("rb") as stream:
                archive.addfile(entry, stream)


def unpack(path: Path, folder: Path) -> None:
    """Write the files of an archive into an empty folder.

    Raises ModelRefusedError, before anything is written outside the folder, for an archive that
    is torn or that holds anything but plain files below it: links, devices, paths with "..".
    """
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                _unpack_entry(archive, entry, path, folder)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise ModelRefusedError(f"{path} cannot be unpacked: {error}") from error


def _unpack_entry(
    archive: tarfile.TarFile, entry: tarfile.TarInfo, path: Path, folder: Path
) -> None:
    name = PurePosixPath(entry.name)
    if entry.issparse() or not entry.isreg():
        raise ModelRefusedError(f"{path} holds {entry.name!r}, which is not a plain file")
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in entry.name:
        raise ModelRefusedError(f"{path} holds {entry.name!r}, which lies outside its folder")
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(entry) or io.BytesIO()
    with content, target.open("xb") as file:
        shutil.copyfileobj(content, file, _BLOCK)
    if target.stat().st_size != entry.size:
        raise ModelRefusedError(f"{path} is torn within {entry.name!r}")
