import zipfile
from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.training.source_files import check_keras_file


def refused(path: Path) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        check_keras_file(path)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    return raised.value.message


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x1c\0\0\0TFL3\x14\0", r"a LiteRT (.tflite) model"),
        (b"\x89HDF\r\n\x1a\n\0\0", "a Keras model in the older HDF5 format"),
        (b"just some text", "not a model"),
        (b"", "an empty file"),
    ],
)
def test_other_files_are_named(tmp_path: Path, head: bytes, kind: str) -> None:
    # The name says nothing: the content is looked at.
    path = tmp_path / "model.keras"
    path.write_bytes(head)
    message = refused(path)
    assert f"model.keras is {kind}; Facet takes a Keras model saved with" in message


def test_folders_are_named(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert "is a SavedModel" in refused(tmp_path)


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as stored:
        for name in names:
            stored.writestr(name, "content " * 100)
    return path


def test_a_keras_file_passes(tmp_path: Path) -> None:
    check_keras_file(archive(tmp_path / "model.bin", "config.json", "model.weights.h5"))


def test_another_archive_does_not(tmp_path: Path) -> None:
    assert "without a Keras model" in refused(archive(tmp_path / "model.keras", "a.txt"))


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
        check_keras_file(tmp_path / "model.keras")
