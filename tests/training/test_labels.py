from pathlib import Path

import pytest

from services.common.errors import InvalidRequestError
from services.training.labels import read_labels


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "labels"


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat\ndog\n", ["cat", "dog"]),
        ("cat\r\n dog \r\n\r\n", ["cat", "dog"]),
        ("tench, Tinca tinca\nvélo 🚲", ["tench, Tinca tinca", "vélo 🚲"]),
        ('index,label\n0,"tench, Tinca tinca"\n1,cock\n', ["tench, Tinca tinca", "cock"]),
        ("label\ncat\ndog\n", ["cat", "dog"]),
        ("\ufefflabel,wnid\ncat,n1\n", ["cat"]),
        ('label,x\n"two\nlines",1\n', ["two\nlines"]),
        ("crane\ncrane\n", ["crane", "crane"]),
    ],
)
def test_labels_are_read_in_order(file: Path, text: str, labels: list[str]) -> None:
    file.write_text(text, encoding="utf-8", newline="")
    assert read_labels(file) == labels


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "name no class"),
        (b"label\n", "name no class"),
        (b"cat\n\ndog\n", "class 1 .* has no name"),
        (b"index,label\n0,cat\n1\n", "class 1 .* has no name"),
        (b"\xff\xfe", "not UTF-8"),
    ],
)
def test_files_that_name_no_classes_are_refused(file: Path, content: bytes, says: str) -> None:
    file.write_bytes(content)
    with pytest.raises(InvalidRequestError, match=says):
        read_labels(file)


def test_a_missing_file_is_refused(file: Path) -> None:
    with pytest.raises(InvalidRequestError, match="cannot read the labels"):
        read_labels(file)


def test_the_labels_of_imagenet(test_data: Path) -> None:
    labels = read_labels(test_data / "models" / "imagenet_classes_1000.csv")
    assert len(labels) == 1000
    assert labels[1] == "goldfish, Carassius auratus"
