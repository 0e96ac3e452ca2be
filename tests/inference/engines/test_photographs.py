"""MobileNetV2 on real photographs, through LiteRT."""

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from services.common.models.input_spec import InputSpec
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import LoadedVersion, load_version
from tests.fixtures_models import photo_repository  # noqa: F401

PHOTOS = 48


@pytest.fixture(scope="module")
def mobilenet(photo_repository: ModelRepository) -> LoadedVersion:  # noqa: F811
    return load_version(photo_repository, "mobilenet", 1, batch_sizes=[1, 2, 4, 8])


def prepared(path: Path, spec: InputSpec) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    scale = spec.resize_shorter_side / min(rgb.size)
    rgb = rgb.resize(
        (round(rgb.width * scale), round(rgb.height * scale)), Image.Resampling.BILINEAR
    )
    left, top = (rgb.width - spec.width) // 2, (rgb.height - spec.height) // 2
    return np.asarray(rgb.crop((left, top, left + spec.width, top + spec.height)))


def test_the_version_is_what_was_added(mobilenet: LoadedVersion) -> None:
    manifest = mobilenet.manifest
    assert manifest.input == InputSpec(224, 224, 3, resize_shorter_side=256)
    assert manifest.preprocessing.mode == "tf"
    assert manifest.outputs.activation == "softmax"
    assert {artefact.format for artefact in manifest.artefacts} == {"litert", "keras"}
    assert manifest.labels[0] == "tench, Tinca tinca"
    assert mobilenet.engine.name == "litert"
    assert mobilenet.golden_difference < 1e-4


def test_photographs_are_recognised(mobilenet: LoadedVersion, test_data: Path) -> None:
    folder = test_data / "images" / "imagenet_train_sample"
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = rows[:: len(rows) // PHOTOS][:PHOTOS]
    spec = mobilenet.manifest.input
    images = np.stack([prepared(folder / row["file"], spec) for row in chosen])
    truth = np.array([int(row["class_index"]) for row in chosen])
    scores = mobilenet.engine.run(images)
    assert (scores.argmax(axis=1) == truth).mean() >= 0.8
