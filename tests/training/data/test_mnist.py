"""IDX files: the real MNIST, and small ones with all that can be wrong with them."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from services.common.errors import InvalidRequestError
from services.training.data.idx import read_idx
from services.training.data.loading import DataOptions, load_dataset

IMAGES = "images-idx3-ubyte"
LABELS = "labels-idx1-ubyte"


def idx(array: npt.NDArray[np.uint8]) -> bytes:
    """Return an array as an IDX file."""
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.tobytes()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve small pictures to train on, five to test with; half of the files are gzipped."""
    rng = np.random.default_rng(2)
    for part, count in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (count, 6, 4), dtype=np.uint8)
        (tmp_path / f"{part}-{IMAGES}").write_bytes(idx(images))
        labels = np.arange(count, dtype=np.uint8) % 10
        (tmp_path / f"{part}-{LABELS}.gz").write_bytes(gzip.compress(idx(labels)))
    return tmp_path


def load(folder: Path) -> None:
    load_dataset("mnist", DataOptions(data_folder=str(folder)))


def refused(folder: Path) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as raised:
        load(folder)
    return raised.value


def test_gzipped_and_plain_files_are_read(folder: Path) -> None:
    dataset = load_dataset("mnist", DataOptions(data_folder=str(folder)))
    assert dataset.train_images.shape == (12, 6, 4, 1)
    assert dataset.test_labels.tolist() == [0, 1, 2, 3, 4]
    assert dataset.train_labels.dtype == np.int64
    assert dataset.labels == tuple("0123456789")
    content = (folder / f"t10k-{IMAGES}").read_bytes()
    assert dataset.test_images.tobytes() == content[16:]


def test_mnist_itself(test_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_TEST_DATA", str(test_data))
    dataset = load_dataset("mnist")
    assert dataset.train_images.shape == (60000, 28, 28, 1)
    assert dataset.test_images.shape == (10000, 28, 28, 1)
    assert dataset.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert np.bincount(dataset.test_labels).tolist() == [
        *(980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)
    ]


def test_without_a_folder_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACET_TEST_DATA", raising=False)
    with pytest.raises(InvalidRequestError, match="--data-folder") as raised:
        load_dataset("mnist")
    assert raised.value.reason == "MISSING_DATASET"


def test_an_absent_file_is_named(folder: Path) -> None:
    (folder / f"t10k-{LABELS}.gz").unlink()
    error = refused(folder)
    assert f"t10k-{LABELS} or t10k-{LABELS}.gz in {folder}" in error.message
    assert error.reason == "MISSING_DATASET"


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    path = folder / f"t10k-{IMAGES}"
    path.unlink()
    # A file that can be opened and not read, even by root.
    path.symlink_to("/proc/self/mem")
    with pytest.raises(InvalidRequestError, match="cannot read") as raised:
        read_idx(path, 3)
    assert raised.value.reason == "UNREADABLE_DATASET"


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: b"", "it is no IDX file of 3 dimensions: it begins with "),
        (lambda content: b"GIF89a" + content, "begins with 47 49 46 38"),
        (lambda content: b"\0\0\x0d\x03" + content[4:], "begins with 00 00 0d 03"),
        (lambda content: content[:9], "it ends before its sizes"),
        (
            lambda content: content[:-1],
            "5 x 6 x 4 values were announced, 120 bytes, and",
        ),
        (lambda content: content + b"\0", "and it has 121"),
        (lambda content: gzip.compress(content)[:-9], "its gzip archive is torn"),
        (lambda content: gzip.compress(content)[:-4] + b"abcd", "its gzip archive is torn"),
        (lambda content: b"\x1f\x8bnonsense", "its gzip archive is torn"),
    ],
)
def test_damaged_files_are_named(folder: Path, damage: Callable[[bytes], bytes], says: str) -> None:
    path = folder / f"t10k-{IMAGES}"
    path.write_bytes(damage(path.read_bytes()))
    error = refused(folder)
    assert error.message.startswith(f"{path} is damaged: ")
    assert says in error.message
    assert error.reason == "CORRUPT_DATASET"


@pytest.mark.parametrize(
    ("file", "array", "says"),
    [
        (f"train-{LABELS}", np.zeros(11, np.uint8), "it has 11 labels for 12 pictures"),
        (f"train-{LABELS}", np.full(12, 10, np.uint8), "it has the label 10, and 9 is the last"),
        (f"t10k-{IMAGES}", np.zeros((5, 4, 4), np.uint8), "6 x 4 pixels, its test pictures 4 x 4"),
    ],
)
def test_files_that_do_not_fit_together_are_refused(
    folder: Path, file: str, array: npt.NDArray[np.uint8], says: str
) -> None:
    (folder / f"{file}.gz").unlink(missing_ok=True)
    (folder / file).write_bytes(idx(array))
    error = refused(folder)
    assert says in error.message
    assert error.reason == "CORRUPT_DATASET"


def test_no_pictures_at_all_are_refused(folder: Path) -> None:
    (folder / f"t10k-{IMAGES}").write_bytes(idx(np.zeros((0, 6, 4), np.uint8)))
    (folder / f"t10k-{LABELS}.gz").write_bytes(idx(np.zeros(0, np.uint8)))
    assert refused(folder).reason == "EMPTY_DATASET"


@given(array=arrays.arrays(np.uint8, arrays.array_shapes(max_dims=3, max_side=5)), cut=st.data())
def test_what_is_written_is_read_and_what_is_cut_is_refused(
    array: npt.NDArray[np.uint8], cut: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.idx"
    whole = idx(array)
    for content in (whole, gzip.compress(whole)):
        path.write_bytes(content)
        np.testing.assert_array_equal(read_idx(path, array.ndim), array)
        path.write_bytes(content[: cut.draw(st.integers(0, len(content) - 1))])
        with pytest.raises(InvalidRequestError):
            read_idx(path, array.ndim)
