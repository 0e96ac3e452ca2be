"""A folder of pictures by class: one sub-folder a class, the pictures in it or below it.

    FOLDER/cat/1.jpg ...            a fifth of each class is held out
    FOLDER/train/cat/1.jpg ...      or the split is given: `train` and `test` (or `val`)
    FOLDER/test/cat/7.jpg ...

Names that begin with a dot are ignored; links to folders are not followed.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.training.data.dataset import Dataset, SkippedFile
from services.training.data.pictures import read_pictures
from services.training.data.split import held_out

TRAIN: Final = "train"
HELD_OUT: Final = ("test", "val")
"""Which sub-folder is held out: the first of these that is there."""


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The pictures below one folder of classes, class by class, by name."""

    images: list[npt.NDArray[np.uint8]]
    labels: list[int]
    digests: list[bytes]
    """sha256 of each file."""
    skipped: list[SkippedFile]


def load_folder_dataset(folder: Path, spec: InputSpec) -> Dataset:
    """Return the pictures in a folder, cut as `spec` says; classes are sorted by name.

    The same files give the same data set, in the same order, in every process. A file that is no
    picture is skipped, and so is a training picture that is held out as well.

    Raises InvalidRequestError: MISSING_DATASET when there is no such folder, EMPTY_DATASET when it
    has fewer than two classes, EMPTY_CLASS, naming it, when a class has too few pictures, and
    CLASS_MISMATCH when `train` and `test` have different classes.
    """
    train, test = _parts_of(folder)
    classes = _class_names(train)
    if test is None:
        part = _read(folder, train, classes, spec)
        chosen = _hold_out_share(part, classes, train)
        return _dataset(folder, classes, spec, part, ~chosen, part, chosen)
    if (others := _class_names(test)) != classes:
        first = min(set(classes) ^ set(others))
        raise InvalidRequestError(
            f"{train} and {test} must have the same classes: {first!r} is in one of them only",
            reason="CLASS_MISMATCH",
        )
    trained, tested = (_read(folder, part, classes, spec) for part in (train, test))
    unseen = _leave_out_held_out(folder, trained, tested)
    for number, name in enumerate(classes):
        if not any(unseen[np.array(trained.labels) == number]):
            raise _empty_class(train / name, "all its pictures are held out too")
    every = np.ones(len(tested.labels), np.bool_)
    return _dataset(folder, classes, spec, trained, unseen, tested, every)


def _dataset(
    folder: Path,
    classes: Sequence[str],
    spec: InputSpec,
    trained: _Part,
    to_train: npt.NDArray[np.bool_],
    tested: _Part,
    to_test: npt.NDArray[np.bool_],
) -> Dataset:
    skipped = trained.skipped if trained is tested else trained.skipped + tested.skipped
    return Dataset(
        name=folder.resolve().name,
        train_images=np.stack(trained.images)[to_train],
        train_labels=np.array(trained.labels, np.int64)[to_train],
        test_images=np.stack(tested.images)[to_test],
        test_labels=np.array(tested.labels, np.int64)[to_test],
        labels=tuple(classes),
        resize_shorter_side=spec.resize_shorter_side,
        skipped=tuple(skipped),
    )


def _parts_of(folder: Path) -> tuple[Path, Path | None]:
    """Return where training and held-out pictures lie; None: they are not apart."""
    if not folder.is_dir():
        raise InvalidRequestError(f"there is no folder {folder}", reason="MISSING_DATASET")
    given = [folder / name for name in HELD_OUT if (folder / name).is_dir()]
    if given and (folder / TRAIN).is_dir():
        return folder / TRAIN, given[0]
    return folder, None


def _class_names(folder: Path) -> tuple[str, ...]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                entry.name
                for entry in entries
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
            )
    except OSError as error:
        raise _unreadable(error) from error
    if len(names) < 2:
        there = f"only one, {names[0]!r}" if names else "none"
        raise InvalidRequestError(
            f"{folder} must have a sub-folder of pictures for each of at least two classes; "
            f"it has {there}",
            reason="EMPTY_DATASET",
        )
    return tuple(names)


def _read(root: Path, folder: Path, classes: Sequence[str], spec: InputSpec) -> _Part:
    part = _Part([], [], [], [])
    for number, name in enumerate(classes):
        paths = sorted(_files(folder / name))
        pictures = read_pictures(paths, spec)
        for path, picture in zip(paths, pictures, strict=True):
            if picture.pixels is None:
                part.skipped.append(SkippedFile(str(path.relative_to(root)), picture.problem))
                continue
            part.images.append(picture.pixels)
            part.labels.append(number)
            part.digests.append(picture.digest)
        if number not in part.labels[-1:]:
            files = f"none of its {len(paths)} files can be read" if paths else "it has no file"
            raise _empty_class(folder / name, files)
    return part


def _files(folder: Path) -> Iterator[Path]:
    def stop(error: OSError) -> None:
        raise _unreadable(error) from error

    for parent, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _hold_out_share(part: _Part, classes: Sequence[str], folder: Path) -> npt.NDArray[np.bool_]:
    labels = np.array(part.labels)
    chosen = np.zeros(len(labels), np.bool_)
    for number, name in enumerate(classes):
        own = np.flatnonzero(labels == number)
        digests = [part.digests[index] for index in own]
        if len(set(digests)) < 2:
            raise _empty_class(folder / name, "it needs two different pictures, one to hold out")
        chosen[own] = held_out(digests)
    return chosen


def _leave_out_held_out(root: Path, trained: _Part, tested: _Part) -> npt.NDArray[np.bool_]:
    """Return which training pictures are not among the held-out ones: bool [n]."""
    known = set(tested.digests)
    unseen = np.array([digest not in known for digest in trained.digests])
    if count := int((~unseen).sum()):
        name = f"{count} of {root / TRAIN}"
        trained.skipped.append(SkippedFile(name, "held out as well, so not trained on"))
    return unseen


def _empty_class(folder: Path, why: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the class {folder.name!r} in {folder.parent} has too few pictures: {why}",
        reason="EMPTY_CLASS",
    )


def _unreadable(error: OSError) -> InvalidRequestError:
    return InvalidRequestError(
        f"cannot read {error.filename}: {error.strerror}", reason="UNREADABLE_DATASET"
    )
