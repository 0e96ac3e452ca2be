"""Small version contents, without any engine."""

import shutil
from pathlib import Path
from typing import Literal

import numpy as np

from services.common.models.artefacts import Artefact
from services.common.models.golden import GoldenExamples
from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Manifest, Outputs, VersionContent
from services.common.models.normalisation import Normalisation
from services.common.models.repository import Build, ModelRepository

LABELS = ("one", "two", "drei ✓")
CLASSES = len(LABELS)
SPEC = InputSpec(4, 5, 1)


def write_content(
    folder: Path,
    *,
    model: bytes = b"model",
    formats: tuple[str, ...] = ("litert",),
    spec: InputSpec = SPEC,
    labels: tuple[str, ...] = LABELS,
    activation: Literal["softmax", "sigmoid", "linear"] = "softmax",
) -> VersionContent:
    """Write the files of a version that no engine can run, and return what they are."""
    artefacts = []
    for file_format in formats:
        path = folder / f"model.{file_format}"
        path.write_bytes(model)
        artefacts.append(Artefact.describe(path, file_format))
    golden = GoldenExamples(
        np.resize(np.arange(256, dtype=np.uint8), (2, *spec.shape)),
        np.full((2, len(labels)), 1 / len(labels), np.float32),
    )
    return VersionContent(
        source="a test",
        input=spec,
        preprocessing=Normalisation.preset("none"),
        outputs=Outputs(classes=len(labels), activation=activation),
        artefacts=tuple(artefacts),
        golden=golden.save(folder),
        training={"epochs": 3, "learning_rate": 0.01, "shuffle": True, "architecture": "cnn"},
        metrics={"held_out_accuracy": 0.5},
        labels=labels,
    )


def copy_of(repository: ModelRepository, manifest: Manifest) -> Build:
    """Return what publishes the content of a version once more."""

    def build(folder: Path) -> VersionContent:
        for artefact in manifest.artefacts:
            path = repository.artefact_path(manifest, artefact.format)
            shutil.copy(path, folder / artefact.file)
        fields = {key: getattr(manifest, key) for key in VersionContent.model_fields}
        golden = repository.golden_examples(manifest).save(folder)
        return VersionContent(**fields | {"golden": golden, "reports": ()})

    return build
