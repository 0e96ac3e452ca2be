"""Files of a model version, and the checksums that tell whether they are still whole."""

import hashlib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from services.common.errors import ModelRefusedError

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """A strict, immutable part of the manifest."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class StoredFile(Record):
    """One file in the folder of a version."""

    file: FileName
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]

    def verify(self, folder: Path) -> Path:
        """Return the path of the file in `folder`.

        Raises ModelRefusedError, naming the file, when it is missing, torn or altered.
        """
        path = folder / self.file
        try:
            size = path.stat().st_size
            if size != self.bytes:
                raise ModelRefusedError(
                    f"{path} has {size} bytes, and its manifest says {self.bytes}"
                )
            if sha256_of(path) != self.sha256:
                raise ModelRefusedError(f"{path} was altered: its sha256 is not the manifest's")
        except OSError as error:
            raise ModelRefusedError(f"{path} cannot be read: {error.strerror}") from error
        return path


class Artefact(StoredFile):
    """The model in the form that one kind of engine runs."""

    format: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
    """"litert" (a .tflite file), "keras" (a .keras file) or "saved_model" (the folder of one as a
    tar archive); all take uint8 pictures."""

    @classmethod
    def describe(cls, path: Path, file_format: str) -> Self:
        """Return the record of a file that was just written."""
        return cls(
            format=file_format,
            file=path.name,
            sha256=sha256_of(path),
            bytes=path.stat().st_size,
        )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file's content, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
