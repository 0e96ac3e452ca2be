"""Takes a model that was trained elsewhere into the repository."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import quiet_stderr
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.intake.kinds import Kind, recognise
from services.training.intake.source import Source
from services.training.progress import Tell, silent


@dataclass(frozen=True, slots=True)
class Choices:
    """What a user says of a model file; what is left out is worked out, or refused."""

    labels: Sequence[str] | None = None
    """Of the classes; by default those in the file, else their numbers."""
    normalisation: Normalisation | None = None
    """By default what the model itself shows, see `intake.assumptions`."""
    resize: int = 0
    """Pixels of the shorter side before the crop; 0 stretches the picture."""
    crop: int = 0
    """Pixels of the centre crop; 0: the input's own size."""
    signature: str | None = None
    """Of a SavedModel; by default serving_default, or the only one."""
    output: str | None = None
    """Name of the output with the scores, where there are several."""


def add_model(
    repository: ModelRepository,
    name: str,
    file: Path,
    choices: Choices | None = None,
    *,
    real_images: npt.NDArray[np.uint8] | None = None,
    tell: Tell = silent,
    notice: Tell = silent,
) -> Manifest:
    """Publish a stock model as a new version: a Keras file, a SavedModel's folder or a .tflite.

    Normalisation is fused into the graph; the result is kept as a .tflite file where it converts
    and says the same, and in its own form for TensorFlow. `real_images` [n, height, width,
    channels] are used to compare the two. `tell` hears a line at each step, `notice` what was
    assumed or given up; the whole takes 1 s (.tflite) to 30 s.

    Raises InvalidRequestError (UNSUPPORTED_MODEL for what the file is, UNKNOWN_PREPROCESSING when
    it must be told, INVALID_REQUEST for what was asked), ModelRefusedError when the model's scores
    are not numbers, and UnavailableError when the repository cannot be written. Then nothing is
    left in the repository.
    """
    check_name(name)
    choices = choices or Choices()
    kind = recognise(file)
    with tempfile.TemporaryDirectory(prefix="facet-intake-") as scratch:
        tell(f"loading {file.name}" if kind is Kind.TFLITE else "loading TensorFlow")
        source = _open(kind, file, choices, Path(scratch))
        spec = source.pictures.cut(resize=choices.resize, crop=choices.crop)
        normalisation = choices.normalisation or _work_out(source, file, notice)
        labels = _labels(source, choices)
        from services.training.packaging import Package

        package = Package(
            fused=source.fuse(spec, normalisation),
            input=spec,
            normalisation=normalisation,
            labels=labels,
            source=file.name,
            real_images=real_images,
        )
        manifest = repository.publish(name, lambda folder: package.write(folder, tell, notice))
    tell(f"published {name}:{manifest.version}")
    return manifest


def _open(kind: Kind, file: Path, choices: Choices, scratch: Path) -> Source:
    if choices.signature is not None and kind is not Kind.SAVED_MODEL:
        raise InvalidRequestError(f"--signature is for a SavedModel, and {file} is none")
    if choices.output is not None and kind is Kind.KERAS:
        raise InvalidRequestError("--output is for a SavedModel or a .tflite file")
    # Each imports what it needs, without its chatter.
    with quiet_stderr():
        match kind:
            case Kind.KERAS:
                from services.training.intake.keras_files import KerasSource

                return KerasSource(file)
            case Kind.SAVED_MODEL:
                from services.training.intake.saved_models import SavedModelSource

                return SavedModelSource(file, choices.signature, choices.output)
            case Kind.TFLITE:
                from services.training.intake.tflite_files import TfliteSource

                return TfliteSource(file, choices.output, scratch)


def _work_out(source: Source, file: Path, notice: Tell) -> Normalisation:
    assumed = source.assumed()
    if assumed is None:
        raise InvalidRequestError(
            f"{file} does not show how its pictures are normalised: say it with --preprocessing "
            "(tf, torch, caffe or none), or with --mean and --scale",
            reason="UNKNOWN_PREPROCESSING",
        )
    notice(f"preprocessing {assumed.normalisation}: {assumed.because}")
    return assumed.normalisation


def _labels(source: Source, choices: Choices) -> Sequence[str]:
    labels = choices.labels
    if labels is None:
        labels = source.labels or [str(index) for index in range(source.classes)]
    if len(labels) != source.classes:
        raise InvalidRequestError(f"{len(labels)} labels for a model with {source.classes} classes")
    return labels
