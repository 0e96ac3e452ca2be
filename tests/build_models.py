"""Makes the model repositories that tests share; run as a process of its own by its fixtures.

python -m tests.build_models digits FOLDER
python -m tests.build_models second FOLDER
python -m tests.build_models photos FOLDER TEST_DATA
"""

import os
import sys
from pathlib import Path

from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.adding import Choices, add_model
from services.training.data.loading import load_dataset
from services.training.labels import read_labels
from services.training.settings import TrainingSettings
from services.training.training import train_and_publish

PHOTO_MODEL = "mobilenet_v2_100_224_ptq.keras"
PHOTO_LABELS = "imagenet_classes_1000.csv"


def build_digits(folder: Path) -> None:
    """Train `digits` version 1 as `facet train` does."""
    repository = ModelRepository(folder)
    train_and_publish(repository, "digits", load_dataset("digits"), TrainingSettings())


def build_second(folder: Path) -> None:
    """Train `second` version 1: the same network, for less and from other weights."""
    settings = TrainingSettings(epochs=2, seed=1)
    train_and_publish(ModelRepository(folder), "second", load_dataset("digits"), settings)


def build_photos(folder: Path, test_data: Path) -> None:
    """Add `mobilenet` version 1 as `facet models add` does."""
    models = test_data / "models"
    add_model(
        ModelRepository(folder),
        "mobilenet",
        models / PHOTO_MODEL,
        Choices(
            labels=read_labels(models / PHOTO_LABELS),
            normalisation=Normalisation.preset("tf"),
            resize=256,
            crop=224,
        ),
    )


if __name__ == "__main__":
    os.environ.update(QUIET_ENVIRONMENT)
    match sys.argv[1:]:
        case ["digits", folder]:
            build_digits(Path(folder))
        case ["second", folder]:
            build_second(Path(folder))
        case ["photos", folder, test_data]:
            build_photos(Path(folder), Path(test_data))
        case _:
            sys.exit(__doc__)
