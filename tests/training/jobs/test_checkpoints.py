"""Checkpoints, on this machine's file system and in fsspec's memory."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from services.training.history import EpochRecord
from services.training.jobs.checkpoints import Checkpoint, Checkpoints
from services.training.jobs.storage import Storage
from services.training.loop import Position


@pytest.fixture(params=["file", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """An empty folder."""
    if request.param == "file":
        yield Storage(str(tmp_path / "job"))
        return
    root = Storage(f"memory://{uuid.uuid4().hex}")
    yield root.sub("job")
    root.remove("job")


def some(epoch: int, step: int = 0) -> Checkpoint:
    """A checkpoint with something of everything."""
    record = EpochRecord(epoch=1, loss=1.5, accuracy=0.5, seconds=2.0, images_per_s=10.0)
    position = Position(epoch, step, loss=3.25, hits=4.0, seconds=0.5, history=(record,))
    weights: list[npt.NDArray[Any]] = [
        np.full((2, 3), epoch, np.float32),
        np.arange(4, dtype=np.int64),
    ]
    return Checkpoint(position, weights, [np.full((), step, np.float32), *weights])


def test_what_is_saved_is_loaded(storage: Storage) -> None:
    checkpoints = Checkpoints(storage)
    assert checkpoints.newest() is None
    saved = some(3, 7)
    loaded = checkpoints.load(checkpoints.save(saved))
    assert loaded is not None
    assert loaded.position == saved.position
    for one, other in zip(
        [*loaded.weights, *loaded.optimizer], [*saved.weights, *saved.optimizer], strict=True
    ):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


def test_the_newest_two_are_kept_and_what_is_needed(storage: Storage) -> None:
    checkpoints = Checkpoints(storage)
    names = [checkpoints.save(some(*at)) for at in ((1, 9), (2, 0), (2, 10), (10, 0))]
    checkpoints.prune(frozenset({names[0]}))
    assert checkpoints.names() == [names[0], names[2], names[3]]
    assert checkpoints.epoch_ends() == [(9, names[3])]
    checkpoints.prune()
    assert checkpoints.names() == names[2:]
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.position.epoch == 10


@pytest.mark.parametrize("damage", ["torn", "altered", "empty"])
def test_one_that_is_not_whole_is_passed_over(storage: Storage, damage: str) -> None:
    checkpoints = Checkpoints(storage)
    checkpoints.save(some(1))
    name = checkpoints.save(some(2))
    content = bytearray(storage.read(name) or b"")
    if damage == "torn":
        content = content[: len(content) // 2]
    elif damage == "altered":
        content[200] ^= 0xFF
    else:
        content.clear()
    storage.write(name, bytes(content))
    newest = checkpoints.newest()
    assert newest is not None
    assert newest.position.epoch == 1


def test_arrays_are_mapped_or_fetched(storage: Storage) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 4, 4, 1)).astype(np.uint8)
    storage.write_array("images.npy", pictures)
    with storage.array("images.npy") as read:
        np.testing.assert_array_equal(read, pictures)
    assert storage.names() == ["images.npy"]
    storage.remove("images.npy")
    storage.remove("images.npy")
    assert storage.names() == []
