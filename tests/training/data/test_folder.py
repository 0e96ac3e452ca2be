"""Folders of pictures by class."""

import hashlib
import os
import shutil
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.common.errors import InvalidRequestError
from services.training.data.dataset import Dataset
from services.training.data.loading import DataOptions, load_dataset

OPTIONS = DataOptions(image_size=16)
COLOURS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "owl": (40, 40, 200)}


def picture(colour: tuple[int, int, int], number: int, form: str = "PNG") -> bytes:
    """Return a picture of nearly that colour; each number gives another one."""
    buffer = BytesIO()
    red, green, blue = colour
    Image.new("RGB", (20 + number % 7, 18), (red, green + number % 30, blue)).save(buffer, form)
    return buffer.getvalue()


def fill(folder: Path, count: int, first: int = 0) -> Path:
    """Make so many pictures of each class."""
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True)
        for number in range(first, first + count):
            (folder / name / f"{number:02}.png").write_bytes(picture(colour, number))
    return folder


def load(folder: Path) -> Dataset:
    return load_dataset(str(folder), OPTIONS)


def refused(folder: Path, reason: str) -> str:
    with pytest.raises(InvalidRequestError) as raised:
        load(folder)
    assert raised.value.reason == reason
    return raised.value.message


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    return fill(tmp_path / "animals", 20)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    fill(tmp_path / "split" / "train", 4)
    fill(tmp_path / "split" / "test", 2, first=10)
    return tmp_path / "split"


def test_each_sub_folder_is_a_class(animals: Path) -> None:
    dataset = load(animals)
    assert dataset.name == "animals"
    assert dataset.labels == ("cat", "dog", "owl")
    assert dataset.shape == (16, 16, 3)
    assert dataset.resize_shorter_side == 16
    for images, labels in (
        (dataset.train_images, dataset.train_labels),
        (dataset.test_images, dataset.test_labels),
    ):
        # Red, green and blue animals.
        assert images.mean(axis=(1, 2)).argmax(axis=1).tolist() == labels.tolist()
    for label in range(3):
        assert (dataset.train_labels == label).sum() + (dataset.test_labels == label).sum() == 20
    assert dataset.skipped == ()


def test_pictures_may_be_grey_and_of_any_size(animals: Path) -> None:
    dataset = load_dataset(str(animals), DataOptions(image_size=9, channels=1))
    assert dataset.shape == (9, 9, 1)
    with pytest.raises(InvalidRequestError, match="channels must be 1 or 3"):
        load_dataset(str(animals), DataOptions(channels=4))
    with pytest.raises(InvalidRequestError, match="must be 1 to 4096 pixels"):
        load_dataset(str(animals), DataOptions(image_size=0))


def test_every_process_gets_the_same(animals: Path) -> None:
    program = (
        "import sys, hashlib; from services.training.data.loading import *;"
        "d = load_dataset(sys.argv[1], DataOptions(image_size=16));"
        "print(d.held_out_digest(), hashlib.sha256(d.train_images.tobytes()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(animals)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONHASHSEED": "7"},
    )
    digest, trained = run.stdout.split()
    dataset = load(animals)
    assert digest == dataset.held_out_digest()
    assert trained == hashlib.sha256(dataset.train_images.tobytes()).hexdigest()


def test_the_split_does_not_hang_on_names_or_on_other_pictures(animals: Path) -> None:
    before = {image.tobytes() for image in load(animals).test_images}
    for path in sorted((animals / "cat").iterdir()):
        path.rename(path.with_name(f"renamed-{path.name}"))
    for number in range(20, 28):
        (animals / "dog" / f"{number}.png").write_bytes(picture(COLOURS["dog"], number))
    after = {image.tobytes() for image in load(animals).test_images}
    assert before <= after


def test_copies_of_a_picture_are_on_one_side(animals: Path) -> None:
    for path in list((animals / "cat").iterdir()):
        shutil.copy(path, path.with_name(f"copy-of-{path.name}"))
    dataset = load(animals)
    trained = {image.tobytes() for image in dataset.train_images}
    assert not trained & {image.tobytes() for image in dataset.test_images}


@pytest.mark.parametrize("name", ["test", "val"])
def test_the_split_may_be_given(split: Path, name: str) -> None:
    (split / "test").rename(split / name)
    dataset = load(split)
    assert dataset.name == "split"
    assert dataset.train_labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert dataset.test_labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_where_both_are_test_is_held_out_and_val_is_not_used(split: Path) -> None:
    before = load(split)
    fill(split / "val", 3, first=15)
    assert load(split).held_out_digest() == before.held_out_digest()
    assert len(load(split).train_labels) == len(before.train_labels)


def test_a_class_may_be_called_train(animals: Path) -> None:
    (animals / "owl").rename(animals / "train")
    assert load(animals).labels == ("cat", "dog", "train")


def test_training_pictures_that_are_held_out_too_are_left_out(split: Path) -> None:
    shutil.copy(split / "test" / "cat" / "10.png", split / "train" / "cat" / "again.png")
    dataset = load(split)
    assert len(dataset.train_labels) == 12
    (skipped,) = dataset.skipped
    assert skipped.reason == "held out as well, so not trained on"
    assert skipped.file == f"1 of {split / 'train'}"


def test_what_is_no_picture_is_skipped_and_named(animals: Path) -> None:
    whole = load(animals)
    (animals / "cat" / "notes.txt").write_text("a cat")
    (animals / "dog" / "torn.png").write_bytes(picture(COLOURS["dog"], 3)[:60])
    (animals / "dog" / "empty.jpg").touch()
    (animals / "owl" / "gone.png").symlink_to(animals / "nowhere.png")
    os.mkfifo(animals / "owl" / "pipe")
    dataset = load(animals)
    assert [skipped.file for skipped in dataset.skipped] == [
        *("cat/notes.txt", "dog/empty.jpg", "dog/torn.png", "owl/gone.png", "owl/pipe")
    ]
    reasons = [skipped.reason for skipped in dataset.skipped]
    assert reasons[0].startswith("not a picture in one of the formats JPEG, PNG")
    assert "No such file" in reasons[3]
    assert "not a file" in reasons[4]
    assert dataset.held_out_digest() == whole.held_out_digest()
    np.testing.assert_array_equal(dataset.train_images, whole.train_images)


def test_hidden_files_and_links_to_folders_are_ignored(animals: Path) -> None:
    whole = load(animals)
    (animals / ".cache").mkdir()
    (animals / "cat" / ".DS_Store").write_text("x")
    (animals / "cat" / ".thumbnails").mkdir()
    shutil.copy(animals / "dog" / "00.png", animals / "cat" / ".thumbnails")
    (animals / "cat" / "loop").symlink_to(animals, target_is_directory=True)
    (animals / "loop").symlink_to(animals, target_is_directory=True)
    (animals / "readme.txt").write_text("about animals")
    dataset = load(animals)
    assert dataset.labels == whole.labels
    assert dataset.skipped == ()
    np.testing.assert_array_equal(dataset.train_images, whole.train_images)


def test_pictures_may_lie_deeper(animals: Path) -> None:
    whole = load(animals)
    (animals / "cat" / "indoors" / "night").mkdir(parents=True)
    (animals / "cat" / "05.png").rename(animals / "cat" / "indoors" / "night" / "05.png")
    assert len(load(animals).train_labels) == len(whole.train_labels)


def test_two_classes_are_needed(tmp_path: Path) -> None:
    (tmp_path / "lonely.png").write_bytes(picture((1, 2, 3), 1))
    assert "it has none" in refused(tmp_path, "EMPTY_DATASET")
    (tmp_path / "cat").mkdir()
    assert "it has only one, 'cat'" in refused(tmp_path, "EMPTY_DATASET")


def test_a_class_without_pictures_is_named(animals: Path) -> None:
    (animals / "eel").mkdir()
    assert f"the class 'eel' in {animals} has too few" in refused(animals, "EMPTY_CLASS")
    (animals / "eel" / "a.txt").write_text("an eel")
    assert "none of its 1 files can be read" in refused(animals, "EMPTY_CLASS")
    for number in range(2):
        (animals / "eel" / f"{number}.png").write_bytes(picture((9, 9, 9), 1))
    assert "it needs two different pictures" in refused(animals, "EMPTY_CLASS")
    (animals / "eel" / "2.png").write_bytes(picture((9, 9, 9), 2))
    assert load(animals).labels == ("cat", "dog", "eel", "owl")


def test_both_parts_need_the_same_classes(split: Path) -> None:
    shutil.rmtree(split / "test" / "owl")
    assert "'owl' is in one of them only" in refused(split, "CLASS_MISMATCH")


def test_a_class_that_is_held_out_whole_is_named(split: Path) -> None:
    shutil.rmtree(split / "train" / "dog")
    shutil.copytree(split / "test" / "dog", split / "train" / "dog")
    assert "all its pictures are held out too" in refused(split, "EMPTY_CLASS")


def test_a_folder_that_cannot_be_read_is_named(
    animals: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = animals / "cat" / ("x" * 200)
    deep.mkdir()
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if Path(path) == deep:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    # Root may read everything, so that no real folder refuses it.
    monkeypatch.setattr(os, "scandir", scandir)
    message = refused(animals, "UNREADABLE_DATASET")
    assert message == f"cannot read {deep}: Permission denied"
