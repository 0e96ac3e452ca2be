"""From a Keras model to the files of a version: fused, converted, compared, with examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.artefacts import Artefact, StoredFile
from services.common.models.golden import GoldenExamples
from services.common.models.input_spec import InputSpec
from services.common.models.litert import LiteRtModel
from services.common.models.manifest import Outputs, VersionContent
from services.common.models.normalisation import Normalisation
from services.training import parity
from services.training.conversion import convert
from services.training.fusion import fuse
from services.training.progress import Tell

GOLDEN_EXAMPLES: Final = 4

KERAS_FILE: Final = "model.keras"
LITERT_FILE: Final = "model.tflite"


@dataclass(frozen=True, slots=True)
class Package:
    """A keras.Model and all that its manifest says of it."""

    model: Any
    """Float32 pictures, normalised, to scores [n, classes]."""
    input: InputSpec
    normalisation: Normalisation
    labels: Sequence[str]
    source: str
    real_images: npt.NDArray[np.uint8] | None = None
    """Pictures [n, height, width, channels] of the kind that the model is for."""
    training: Mapping[str, str | int | float | bool] | None = None
    metrics: Mapping[str, int | float] = field(default_factory=dict)
    write_reports: Callable[[Path], tuple[StoredFile, ...]] | None = None
    """Writes further files for people into the version's folder, and says what they are."""

    def write(self, folder: Path, tell: Tell) -> VersionContent:
        """Write the version's files into a folder and return what they are.

        Raises InvalidRequestError when the normalisation does not fit the model, and
        ModelRefusedError when its scores are not finite numbers.
        """
        fused = fuse(self.model, self.input.shape, self.normalisation)
        images = parity.probe_images(self.input, self.real_images)
        scores = np.asarray(fused(images, training=False), np.float32)
        if not np.isfinite(scores).all():
            raise ModelRefusedError("the model's scores are not all finite numbers")
        tell("saving the Keras model")
        fused.save(folder / KERAS_FILE)
        artefacts = [Artefact.describe(folder / KERAS_FILE, "keras")]
        tell("converting to LiteRT")
        obstacle = convert(fused, folder / LITERT_FILE, lambda path: _compare(path, images, scores))
        if obstacle is None:
            artefacts.insert(0, Artefact.describe(folder / LITERT_FILE, "litert"))
        else:
            tell(f"kept for Keras alone, as it does not convert to LiteRT: {obstacle}")
        golden = GoldenExamples(images[:GOLDEN_EXAMPLES], scores[:GOLDEN_EXAMPLES])
        return VersionContent(
            source=self.source,
            input=self.input,
            preprocessing=self.normalisation,
            outputs=Outputs(classes=scores.shape[1], activation=_activation(scores)),
            artefacts=tuple(artefacts),
            golden=golden.save(folder),
            training=self.training,
            metrics=self.metrics,
            reports=self.write_reports(folder) if self.write_reports else (),
            labels=tuple(self.labels),
        )


def _compare(
    path: Path, images: npt.NDArray[np.uint8], scores: npt.NDArray[np.float32]
) -> str | None:
    """Say what is wrong with a converted file, or None."""
    try:
        with LiteRtModel(path, threads=1) as converted:
            # One batch and then single pictures: the batch size must really be free.
            batch = converted.predict(images)
            single = np.concatenate([converted.predict(image[np.newaxis]) for image in images])
    except (ModelRefusedError, RuntimeError, ValueError) as error:
        return _first_sentence(str(error).replace(str(path), "the result"))
    worst = max(parity.difference(scores, batch), parity.difference(scores, single))
    if not worst <= parity.TOLERANCE:
        return f"its scores differ by {worst:.2g}, and {parity.TOLERANCE:.0g} is allowed"
    if not (parity.same_winners(scores, batch) and parity.same_winners(scores, single)):
        return "it prefers another class for some pictures"
    return None


def _first_sentence(text: str) -> str:
    return text.split("\n", 1)[0].split(". ", 1)[0]


def _activation(scores: npt.NDArray[np.float32]) -> Literal["softmax", "sigmoid", "linear"]:
    if not (scores.min() >= 0 and scores.max() <= 1):
        return "linear"
    return "softmax" if np.allclose(scores.sum(axis=1), 1, atol=1e-3) else "sigmoid"
