""".tflite files: looked at, fused and tried in processes that they may crash."""

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.common.models.input_spec import InputSpec
from services.common.models.normalisation import Normalisation
from services.training.fused import Fused, check_fit
from services.training.intake import assumptions, tflite_work
from services.training.intake.assumptions import Assumed, Linear
from services.training.intake.source import Pictures, Source, unsupported

_INPUT_TYPES: Final = ("float32", "uint8", "int8")
_TIME_LIMIT_S: Final = 300.0


class TfliteSource(Source):
    """A .tflite file, of floats or quantised."""

    def __init__(self, path: Path, output: str | None, scratch: Path) -> None:
        """Look at a file; `scratch` is an empty folder that outlives this.

        Raises InvalidRequestError (UNSUPPORTED_MODEL) when LiteRT cannot run it or it does not
        recognise pictures.
        """
        self._path = path
        self._output = output
        self._scratch = scratch
        shutil.copyfile(path, scratch / tflite_work.ORIGINAL)
        self._seen = self._do("describe")
        self.pictures = Pictures.of(self._seen["shape"], self._seen["dtype"], _INPUT_TYPES)
        self.classes = self._seen["classes"]
        self.labels = self._seen["labels"]

    def assumed(self) -> Assumed | None:
        """See Source.assumed."""
        if self._seen["normalisation"] is not None:
            mean, deviation = map(np.asarray, self._seen["normalisation"])
            return Assumed(_named(1 / deviation, mean / deviation), "its metadata says so")
        if self._seen["levels"] is not None:
            return assumptions.from_quantisation(*self._seen["levels"])
        if self._seen["dtype"] == "uint8":
            return assumptions.none("the model takes uint8 pictures")
        return assumptions.from_arithmetic(Linear(*map(np.asarray, self._seen["arithmetic"])))

    def fuse(self, spec: InputSpec, normalisation: Normalisation) -> Fused:
        """See Source.fuse."""
        # Quantised pictures are normalised like floats; plain uint8 ones are pixels.
        plain = self._seen["dtype"] == "uint8" and self._seen["levels"] is None
        check_fit(normalisation, "uint8" if plain else "float32", spec.channels)
        said = asdict(normalisation)
        self._do("put_together", shape=spec.shape, normalisation=said)

        def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            np.save(self._scratch / tflite_work.IMAGES, images)
            self._do("score", normalisation=said)
            return np.asarray(np.load(self._scratch / tflite_work.SCORES), np.float32)

        def convert(path: Path) -> None:
            shutil.copyfile(self._scratch / tflite_work.FUSED, path)

        return Fused(predict, None, (convert,))

    def _do(self, task: str, **details: Any) -> dict[str, Any]:
        """Have a task of `tflite_work` done, and return what it found."""
        answer = self._scratch / tflite_work.ANSWER
        answer.unlink(missing_ok=True)
        said = {"task": task, "output": self._output, **details}
        (self._scratch / tflite_work.TASK).write_text(json.dumps(said), "utf-8")
        command = [sys.executable, "-m", "services.training.intake.tflite_work"]
        try:
            done = subprocess.run(
                [*command, str(self._scratch)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_TIME_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise unsupported(
                f"{self._path} keeps LiteRT busy for more than {_TIME_LIMIT_S:.0f} s"
            ) from error
        if done.returncode:
            raise unsupported(f"{self._path} crashes LiteRT ({_end(done.returncode)})")
        found: dict[str, Any] = json.loads(answer.read_text("utf-8"))
        if "refused" in found:
            raise unsupported(f"{self._path}: {found['refused']}")
        result: dict[str, Any] = found["done"]
        return result


def _end(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _named(scale: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> Normalisation:
    """Return the preset of those numbers where there is one."""
    for mode in ("tf", "torch", "none"):
        preset = Normalisation.preset(mode)
        if np.allclose(preset.scale, scale, rtol=1e-3) and np.allclose(
            preset.offset, offset, rtol=1e-3, atol=1e-3
        ):
            return preset
    return Normalisation("custom", tuple(map(float, scale)), tuple(map(float, offset)))
