"""From a fused model to the files of a version: saved, converted, compared, with examples."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.artefacts import Artefact, StoredFile
from services.common.models.golden import GoldenExamples
from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Outputs, VersionContent
from services.common.models.normalisation import Normalisation
from services.training import parity
from services.training.conversion import convert
from services.training.fused import Fused
from services.training.progress import Tell, silent

GOLDEN_EXAMPLES: Final = 4

LITERT_FILE: Final = "model.tflite"


@dataclass(frozen=True, slots=True)
class Package:
    """A model and all that its manifest says of it."""

    fused: Fused
    input: InputSpec
    normalisation: Normalisation
    """What was fused."""
    labels: Sequence[str]
    source: str
    real_images: npt.NDArray[np.uint8] | None = None
    """Pictures [n, height, width, channels] of the kind that the model is for."""
    training: Mapping[str, str | int | float | bool] | None = None
    metrics: Mapping[str, int | float] = field(default_factory=dict)
    write_reports: Callable[[Path], tuple[StoredFile, ...]] | None = None
    """Writes further files for people into the version's folder, and says what they are."""

    def write(self, folder: Path, tell: Tell, notice: Tell = silent) -> VersionContent:
        """Write the version's files into a folder and return what they are.

        `tell` hears of each step, `notice` what people should know of the result. The metrics get
        `litert_difference`, the largest difference of a score of the .tflite file. Raises
        ModelRefusedError when the scores are not finite numbers, and InvalidRequestError
        (UNSUPPORTED_MODEL) when no form of the model can be served.
        """
        images = parity.probe_images(self.input, self.real_images)
        scores = self.fused.predict(images)
        if not np.isfinite(scores).all():
            raise ModelRefusedError("the model's scores are not all finite numbers")
        artefacts, metrics = [], dict(self.metrics)
        if self.fused.save is not None:
            tell("saving the model")
            artefacts.append(self.fused.save(folder))
        tell("converting to LiteRT")
        comparison = parity.Comparison(images, scores)
        obstacle = convert(self.fused.converters, folder / LITERT_FILE, comparison.accept)
        if obstacle is None:
            artefacts.insert(0, Artefact.describe(folder / LITERT_FILE, "litert"))
            metrics["litert_difference"] = comparison.difference
            notice(f"the .tflite's scores differ by at most {comparison.difference:.1g}")
        elif artefacts:
            notice(f"kept in its own form alone, as it does not convert to LiteRT: {obstacle}")
        if not artefacts:
            raise InvalidRequestError(
                f"{self.source} cannot be served: {obstacle}", reason="UNSUPPORTED_MODEL"
            )
        golden = GoldenExamples(images[:GOLDEN_EXAMPLES], scores[:GOLDEN_EXAMPLES])
        return VersionContent(
            source=self.source,
            input=self.input,
            preprocessing=self.normalisation,
            outputs=Outputs(classes=scores.shape[1], activation=_activation(scores)),
            artefacts=tuple(artefacts),
            golden=golden.save(folder),
            training=self.training,
            metrics=metrics,
            reports=self.write_reports(folder) if self.write_reports else (),
            labels=tuple(self.labels),
        )


def _activation(scores: npt.NDArray[np.float32]) -> Literal["softmax", "sigmoid", "linear"]:
    if not (scores.min() >= 0 and scores.max() <= 1):
        return "linear"
    # Quantised shares add up to 1 but roughly.
    return "softmax" if np.allclose(scores.sum(axis=1), 1, atol=0.02) else "sigmoid"
