"""One training of a model, from its begin to its end."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final

from services.common.errors import InvalidRequestError
from services.training.data.dataset import Dataset
from services.training.jobs.checkpoints import Checkpoints
from services.training.jobs.lock import LOCK, training_lock
from services.training.jobs.record import JobRecord
from services.training.jobs.storage import Storage
from services.training.loop import Pictures

FOLDER: Final = "training"
RECORD: Final = "job.json"
IMAGES: Final = "images.npy"
LABELS: Final = "labels.npy"


class Job:
    """A training's folder in the repository."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage
        self.checkpoints = Checkpoints(storage)

    @classmethod
    def at(cls, url: str) -> "Job":
        """Return the job in a folder."""
        return cls(Storage(url))

    @property
    def name(self) -> str:
        """Such as 20260131-120000-1f2e3d."""
        return self.storage.url.rpartition("/")[2]

    @property
    def url(self) -> str:
        """Where its folder is."""
        return self.storage.url

    def record(self) -> JobRecord:
        """Return what is trained; InvalidRequestError (TRAINING_UNREADABLE) when it is torn."""
        try:
            return JobRecord.from_json(self.storage.read(RECORD) or b"")
        except ValueError as error:
            raise InvalidRequestError(
                f"{self.url} holds no training that can go on: {error}",
                reason="TRAINING_UNREADABLE",
            ) from error

    @contextmanager
    def pictures(self) -> Iterator[Pictures]:
        """Open the training pictures."""
        with self.storage.array(IMAGES) as images, self.storage.array(LABELS) as labels:
            yield Pictures(images, labels)


@contextmanager
def open_job(
    root: str, model: str, dataset: Dataset, asked: JobRecord, *, resume: bool
) -> Iterator[Job]:
    """Begin a training of a model, or go on with its newest unfinished one, alone.

    After the block all that this training and earlier ones kept is removed; an exception in it
    leaves it for a later one. `root` is a path or a URL of fsspec. Raises InvalidRequestError:
    TRAINING_RUNNING when another process trains the model, NOTHING_TO_RESUME, and
    TRAINING_CHANGED when the unfinished one is another training; UnavailableError when the
    repository cannot be written.
    """
    storage = Storage(f"{root}/{model}/{FOLDER}")
    with training_lock(storage, model):
        job = _unfinished(storage, model) if resume else None
        if job is not None:
            job.record().check_same(asked)
        else:
            job = _begin(storage, dataset, asked)
        yield job
        for name in storage.names():
            # Names begin with the time. A younger one is that of a process which took over the
            # lock while this one was suspended.
            if name != LOCK and name <= job.name:
                storage.remove(name)


def _begin(storage: Storage, dataset: Dataset, record: JobRecord) -> Job:
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    job = Job(storage.sub(name))
    job.storage.write_array(IMAGES, dataset.train_images)
    job.storage.write_array(LABELS, dataset.train_labels)
    # Last: a job with a record is whole.
    job.storage.write(RECORD, record.to_json())
    return job


def _unfinished(storage: Storage, model: str) -> Job:
    for name in reversed(storage.names()):
        if name != LOCK:
            job = Job(storage.sub(name))
            if RECORD in job.storage.names():
                return job
    raise InvalidRequestError(
        f"there is no unfinished training of {model!r} to resume", reason="NOTHING_TO_RESUME"
    )
