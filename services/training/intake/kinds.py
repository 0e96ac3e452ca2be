"""What kind of model file a user gave, told from its content before anything heavy is loaded."""

import re
import zipfile
from collections.abc import Sequence
from enum import Enum, auto
from pathlib import Path
from typing import Final

from services.common.errors import InvalidRequestError


class Kind(Enum):
    """A kind that is taken."""

    KERAS = auto()
    """A .keras file, or a whole model in Keras's older HDF5 format."""
    SAVED_MODEL = auto()
    TFLITE = auto()


_HEAD: Final = 64
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_TFLITE: Final = b"TFL3"
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05]")
# ir_version, then the producer's name or the opset.
_ONNX: Final = re.compile(rb"\x08[\x03-\x0f][\x12\x42\x3a]")
_SAFETENSORS: Final = re.compile(rb'.{8}\{"', re.DOTALL)
_PACKED: Final = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")

_WHAT_IS_TAKEN: Final = (
    "Facet takes a Keras model saved with model.save('NAME.keras'), the folder of a SavedModel, "
    "or a .tflite file"
)
_FROM_TORCH: Final = (
    "convert it where it runs, for example with litert-torch: "
    "litert_torch.convert(model, sample).export('NAME.tflite')"
)


def recognise(path: Path) -> Kind:
    """Return what a file or folder is.

    Raises InvalidRequestError (UNSUPPORTED_MODEL), saying what it is and what to do, unless it is
    of a kind that is taken, and InvalidRequestError when it cannot be read.
    """
    try:
        if path.is_dir():
            if (path / "saved_model.pb").is_file():
                return Kind.SAVED_MODEL
            raise _refusal(path, "a folder without a saved_model.pb")
        with path.open("rb") as stream:
            head = stream.read(_HEAD)
        if head[4:8] == _TFLITE:
            return Kind.TFLITE
        if head.startswith(_HDF5):
            return _hdf5(path)
        if zipfile.is_zipfile(path):
            return _archive(path)
    except OSError as error:
        raise InvalidRequestError(f"cannot read {path}: {error.strerror or error}") from error
    except zipfile.BadZipFile as error:
        raise _refusal(path, "a torn .keras file") from error
    raise _stranger(path, head)


def _hdf5(path: Path) -> Kind:
    import h5py

    try:
        with h5py.File(path) as file:
            whole = "model_config" in file.attrs
    except OSError as error:
        raise _refusal(path, "a torn HDF5 file") from error
    if not whole:
        raise _refusal(
            path,
            "the weights of a Keras model without the model",
            "build the model, load_weights() them, and save it with model.save('NAME.keras')",
        )
    return Kind.KERAS


def _archive(path: Path) -> Kind:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if "config.json" in names:
            torn = archive.testzip()
            if torn is not None:
                raise _refusal(path, f"a torn .keras file ({torn} is damaged)")
            return Kind.KERAS
    raise _zip_stranger(path, names)


def _zip_stranger(path: Path, names: Sequence[str]) -> InvalidRequestError:
    inside = {name.rsplit("/", 1)[-1] for name in names}
    if "data.pkl" in inside or "constants.pkl" in inside:
        return _refusal(path, "a PyTorch model", _FROM_TORCH)
    if "saved_model.pb" in inside:
        return _refusal(path, "an archive with a SavedModel", "unpack it and give its folder")
    return _refusal(path, "a zip archive without a Keras model")


def _stranger(path: Path, head: bytes) -> InvalidRequestError:
    """Say of a file that is of none of the kinds taken what it is, as far as can be seen."""
    suffix = path.suffix.lower()
    if _PICKLE.match(head):
        return _refusal(path, "a PyTorch model or another pickle", _FROM_TORCH)
    if suffix == ".onnx" or _ONNX.match(head):
        return _refusal(
            path, "an ONNX model", "convert it to a SavedModel, with onnx2tf or onnx-tf"
        )
    if path.name == "saved_model.pb":
        return _refusal(path, "a part of a SavedModel", "give the folder that it is in")
    if suffix in (".pb", ".pbtxt"):
        return _refusal(
            path,
            "a frozen TensorFlow graph",
            "wrap it with tf.compat.v1.wrap_function and save it with tf.saved_model.save",
        )
    if suffix == ".safetensors" or _SAFETENSORS.match(head):
        return _refusal(path, "the weights of a model (safetensors) without the model")
    if head.startswith(_PACKED) or suffix == ".tar":
        return _refusal(path, "a packed archive", "unpack it and give what is in it")
    return _refusal(path, "not a model" if head else "an empty file")


def _refusal(path: Path, kind: str, advice: str = _WHAT_IS_TAKEN) -> InvalidRequestError:
    return InvalidRequestError(f"{path} is {kind}; {advice}", reason="UNSUPPORTED_MODEL")
