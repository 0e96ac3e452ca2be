import zipfile
from pathlib import Path

import h5py
import pytest

from services.common.errors import InvalidRequestError
from services.training.intake.kinds import Kind, recognise


def refused(path: Path) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        recognise(path)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    return raised.value.message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("model.keras", b"just some text", "is not a model; Facet takes a Keras model"),
        ("model.keras", b"", "is an empty file; Facet takes"),
        ("model.keras", b"\x89HDF\r\n\x1a\n" + bytes(64), "is a torn HDF5 file"),
        ("model.pt", b"\x80\x02}q\x00.", "PyTorch model or another pickle; convert it"),
        ("model", b"\x08\x08\x12\x07pytorch", "is an ONNX model; convert it to a SavedModel"),
        ("model.onnx", b"anything", "is an ONNX model"),
        ("saved_model.pb", b"\x08\x01\x12\x00", "give the folder that it is in"),
        ("frozen.pb", b"\x0a\x10", "is a frozen TensorFlow graph; wrap it"),
        ("model", b"\x40" + bytes(7) + b'{"weight"', "the weights of a model (safetensors)"),
        ("model.tar.gz", b"\x1f\x8b\x08\x00", "is a packed archive; unpack it"),
    ],
)
def test_other_files_are_named_and_told_what_to_do(
    tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    message = refused(tmp_path / name)
    assert message.startswith(str(tmp_path / name))
    assert says in message


def test_the_content_tells_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    path.write_bytes(b"\x1c\0\0\0TFL3\x14\0")
    assert recognise(path) is Kind.TFLITE


def test_folders(tmp_path: Path) -> None:
    assert "is a folder without a saved_model.pb" in refused(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert recognise(tmp_path) is Kind.SAVED_MODEL


def test_hdf5_is_a_model_or_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        file["layer"] = [1.0]
    assert "weights of a Keras model without the model; build the model" in refused(path)
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = "{}"
    assert recognise(path) is Kind.KERAS


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as stored:
        for name in names:
            stored.writestr(name, "content " * 100)
    return path


def test_a_keras_file_passes(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.bin", "config.json", "model.weights.h5")
    assert recognise(path) is Kind.KERAS


def test_another_archive_does_not(tmp_path: Path) -> None:
    assert "without a Keras model" in refused(archive(tmp_path / "model.keras", "a.txt"))
    torch = archive(tmp_path / "model.pth", "model/data.pkl", "model/data/0")
    assert "is a PyTorch model; convert it" in refused(torch)
    packed = archive(tmp_path / "saved.zip", "net/saved_model.pb")
    assert "unpack it and give its folder" in refused(packed)


def test_a_damaged_archive_does_not(tmp_path: Path) -> None:
    path = archive(tmp_path / "model.keras", "config.json", "model.weights.h5")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"content")] ^= 1
    path.write_bytes(content.replace(b"content content", b"content_content", 1))
    assert "config.json is damaged" in refused(path)
    path.write_bytes(content[: len(content) // 2])
    assert "not a model" in refused(path)


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"cannot read .*No such file"):
        recognise(tmp_path / "model.keras")
