"""Takes a model that was trained elsewhere into the repository."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.common.models.manifest import Manifest, check_name
from services.common.models.native_logs import quiet_stderr
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.progress import Tell, silent
from services.training.source_files import check_keras_file


def add_model(
    repository: ModelRepository,
    name: str,
    file: Path,
    *,
    labels: Sequence[str] | None = None,
    normalisation: Normalisation,
    resize: int = 0,
    crop: int = 0,
    real_images: npt.NDArray[np.uint8] | None = None,
    tell: Tell = silent,
) -> Manifest:
    """Publish a stock Keras file as a new version of a model.

    Normalisation is fused into the graph; the result is kept as a .keras file and, where it
    converts and says the same, as a .tflite file. Without labels classes are called by their
    numbers. `resize` and `crop` are how pictures are cut to the input (the shorter side, then the
    centre); 0 and 0 stretches them. `real_images` [n, height, width, channels] are used to compare
    the two forms. `tell` hears a line at each step; the whole takes 5 to 30 s.

    Raises InvalidRequestError (UNSUPPORTED_MODEL for what the file is, INVALID_REQUEST for what was
    asked), ModelRefusedError when the model's scores are not numbers, and UnavailableError when
    the repository cannot be written.
    """
    check_name(name)
    check_keras_file(file)
    tell("loading TensorFlow")
    with quiet_stderr():
        from services.training import keras_files, packaging

        tell(f"loading {file.name}")
        model = keras_files.load(file)
    spec = keras_files.input_spec(model, resize=resize, crop=crop)
    classes = keras_files.output_classes(model)
    if labels is None:
        labels = [str(index) for index in range(classes)]
    if len(labels) != classes:
        raise InvalidRequestError(f"{len(labels)} labels for a model with {classes} classes")
    package = packaging.Package(
        model=model,
        input=spec,
        normalisation=normalisation,
        labels=labels,
        source=file.name,
        real_images=real_images,
    )
    manifest = repository.publish(name, lambda folder: package.write(folder, tell))
    tell(f"published {name}:{manifest.version}")
    return manifest
