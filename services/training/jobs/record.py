"""What a job is: everything that its result depends on."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Self

import numpy as np

from services.common.errors import InvalidRequestError
from services.training.data.dataset import Dataset
from services.training.schedule import Schedule
from services.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class JobRecord:
    """What is trained, and how."""

    dataset: str
    data_sha256: str
    """Of the training pictures and labels."""
    images: int
    shape: tuple[int, int, int]
    """height, width, channels"""
    classes: int
    workers: int
    """How many workers the batch was chosen for; there may be fewer later."""
    settings: Mapping[str, str | int | float]
    """See TrainingSettings.to_record."""

    @classmethod
    def of(cls, dataset: Dataset, settings: TrainingSettings, workers: int) -> Self:
        """Return the record of a new job."""
        digest = hashlib.sha256()
        for array in (dataset.train_images, dataset.train_labels):
            digest.update(np.ascontiguousarray(array).data)
        height, width, channels = dataset.train_images.shape[1:]
        return cls(
            dataset=dataset.name,
            data_sha256=digest.hexdigest(),
            images=len(dataset.train_labels),
            shape=(height, width, channels),
            classes=len(dataset.labels),
            workers=workers,
            settings=settings.to_record(),
        )

    @property
    def training_settings(self) -> TrainingSettings:
        """The settings themselves."""
        return TrainingSettings(**self.settings)  # type: ignore[arg-type]  # the record is theirs

    @property
    def schedule(self) -> Schedule:
        """The steps: `batch_size` pictures for each of `workers`."""
        settings = self.training_settings
        batch = settings.batch_size * self.workers
        return Schedule(self.images, batch, settings.epochs, settings.seed)

    def to_json(self) -> bytes:
        """Return it as a file."""
        return json.dumps(asdict(self), indent=2).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Return what `to_json` wrote; ValueError for anything else."""
        try:
            values = json.loads(text)
            return cls(**{**values, "shape": tuple(values["shape"])})
        except (KeyError, TypeError) as error:
            raise ValueError(f"no record of a training: {error}") from error

    def check_same(self, asked: "JobRecord") -> None:
        """Raise InvalidRequestError (TRAINING_CHANGED), naming each difference, if there is one."""
        kept = {**_flat(self)}
        wanted = {**_flat(asked)}
        differences = [
            f"{name} was {kept.get(name)} and is {wanted.get(name)} now"
            for name in sorted(kept.keys() | wanted.keys())
            if kept.get(name) != wanted.get(name)
        ]
        if differences:
            raise InvalidRequestError(
                f"the unfinished training cannot be resumed with other settings: "
                f"{', '.join(differences)}",
                reason="TRAINING_CHANGED",
            )


def _flat(record: JobRecord) -> dict[str, object]:
    values = {each.name: getattr(record, each.name) for each in fields(record)}
    return values | dict(values.pop("settings"))
