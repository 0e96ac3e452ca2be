"""Checkpoints of a training: weights, optimizer, position and history in one file each."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.training.history import EpochRecord
from services.training.jobs.storage import Storage
from services.training.loop import Position

KEPT: Final = 2

_NAME: Final = re.compile(r"checkpoint-(\d+)-(\d+)\.npz")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A training at one position.

    The order of pictures and all that is random follow from the seed and the position (see
    `schedule`), so that no generator's state is kept.
    """

    position: Position
    weights: Sequence[npt.NDArray[Any]]
    optimizer: Sequence[npt.NDArray[Any]]

    def to_bytes(self) -> bytes:
        """Return it as a .npz file; its parts carry checksums."""
        arrays = {f"weight_{number}": each for number, each in enumerate(self.weights)}
        arrays |= {f"optimizer_{number}": each for number, each in enumerate(self.optimizer)}
        arrays["position"] = np.frombuffer(json.dumps(asdict(self.position)).encode(), np.uint8)
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Checkpoint":
        """Return what `to_bytes` wrote; ValueError when the file is torn or altered."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                position = json.loads(arrays["position"].tobytes())
                history = tuple(EpochRecord(**record) for record in position.pop("history"))
                return cls(
                    Position(**position, history=history),
                    _numbered(arrays, "weight"),
                    _numbered(arrays, "optimizer"),
                )
        except (OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"no checkpoint: {error}") from error


def _numbered(arrays: Any, kind: str) -> list[npt.NDArray[Any]]:
    count = sum(name.startswith(f"{kind}_") for name in arrays.files)
    return [arrays[f"{kind}_{number}"] for number in range(count)]


class Checkpoints:
    """The checkpoints of one job, oldest first. One process writes, others may read."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def save(self, checkpoint: Checkpoint) -> str:
        """Write a checkpoint and return its name; see `prune`."""
        name = f"checkpoint-{checkpoint.position.epoch:06d}-{checkpoint.position.step:09d}.npz"
        self._storage.write(name, checkpoint.to_bytes())
        return name

    def names(self) -> list[str]:
        """Return the names of all, oldest first."""
        return [name for name in self._storage.names() if _NAME.fullmatch(name)]

    def epoch_ends(self) -> list[tuple[int, str]]:
        """Return (epoch, name) of those that hold the end of an epoch, oldest first."""
        found = [(match, match[0]) for match in map(_NAME.fullmatch, self.names()) if match]
        return [(int(match[1]) - 1, name) for match, name in found if int(match[2]) == 0]

    def load(self, name: str) -> Checkpoint | None:
        """Return a checkpoint; None when it is gone or not whole."""
        content = self._storage.read(name)
        if content is None:
            return None
        try:
            return Checkpoint.from_bytes(content)
        except ValueError:
            return None

    def newest(self) -> Checkpoint | None:
        """Return the newest one that is whole; None when there is none."""
        name = self.newest_name()
        return self.load(name) if name else None

    def newest_name(self) -> str:
        """Return the name of the newest one that is whole; empty when there is none."""
        return next((name for name in reversed(self.names()) if self.load(name)), "")

    def prune(self, keep: frozenset[str] = frozenset()) -> None:
        """Remove all but the newest two and those named."""
        for name in self.names()[:-KEPT]:
            if name not in keep:
                self._storage.remove(name)
