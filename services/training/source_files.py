"""What kind of model file a user gave, told from its content before anything heavy is loaded."""

import zipfile
from pathlib import Path
from typing import Final

from services.common.errors import InvalidRequestError

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_TFLITE: Final = b"TFL3"
_WHAT_IS_TAKEN: Final = "Facet takes a Keras model saved with model.save('NAME.keras')"


def check_keras_file(path: Path) -> None:
    """Raise InvalidRequestError (UNSUPPORTED_MODEL), saying what it is, unless it is a .keras file.

    Such a file is a zip archive with `config.json` and the weights.
    """
    try:
        if path.is_dir():
            kind = "a SavedModel" if (path / "saved_model.pb").exists() else "a folder"
            raise _refusal(path, kind)
        with path.open("rb") as stream:
            head = stream.read(8)
        if not zipfile.is_zipfile(path):
            raise _refusal(path, _kind(head))
        with zipfile.ZipFile(path) as archive:
            if "config.json" not in archive.namelist():
                raise _refusal(path, "a zip archive without a Keras model")
            torn = archive.testzip()
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise _refusal(path, "a torn .keras file") from error
    if torn is not None:
        raise _refusal(path, f"a torn .keras file ({torn} is damaged)")


def _kind(head: bytes) -> str:
    if head.startswith(_HDF5):
        return "a Keras model in the older HDF5 format"
    if head[4:8] == _TFLITE:
        return "a LiteRT (.tflite) model"
    return "not a model" if head else "an empty file"


def _refusal(path: Path, kind: str) -> InvalidRequestError:
    return InvalidRequestError(f"{path} is {kind}; {_WHAT_IS_TAKEN}", reason="UNSUPPORTED_MODEL")
