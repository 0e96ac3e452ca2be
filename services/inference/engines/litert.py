"""LiteRT: the quickest engine on CPUs, loaded in a tenth of a second."""

import time
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.litert import LiteRtModel
from services.common.models.manifest import Manifest
from services.inference.engines.interface import Engine


class LiteRtEngine(Engine):
    """Runs a .tflite artefact through XNNPACK."""

    name = "litert"
    packages = ("ai_edge_litert",)
    tried_apart = True
    artefact_formats = ("litert",)

    def __init__(self, model: LiteRtModel, manifest: Manifest, *, threads: int) -> None:
        clock = time.thread_time if threads == 1 else time.perf_counter
        super().__init__(manifest, exact=True, clock=clock)
        self._model = model

    @classmethod
    def prepare(cls) -> None:
        """See Engine.prepare."""
        # Not the package alone: that imports nothing yet.
        import ai_edge_litert.interpreter  # noqa: F401

    @classmethod
    def load(cls, path: Path, manifest: Manifest, *, threads: int) -> Self:
        """See Engine.load."""
        model = LiteRtModel(path, threads)
        if model.shape != manifest.input.shape:
            model.close()
            raise ModelRefusedError(
                f"{path} takes pictures of {model.shape}, and its manifest says "
                f"{manifest.input.shape}"
            )
        return cls(model, manifest, threads=threads)

    def close(self) -> None:
        """See Engine.close."""
        self._model.close()

    def _predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return self._model.predict(images)
