"""What is done with a stranger's .tflite file, in a process of its own.

LiteRT trusts what it reads: a torn or hostile file can end the process that loads it, and one
that is parsed can ask for any amount of memory. `tflite_files` starts this and outlives it.

    python -m services.training.intake.tflite_work FOLDER

FOLDER has the file as `original.tflite` and the task as `task.json`; `answer.json` is written.
"""

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from services.common.errors import InvalidRequestError
from services.common.models.normalisation import Normalisation
from services.training.intake.source import check_scores, unsupported
from services.training.intake.tflite_fusion import fuse
from services.training.intake.tflite_graph import (
    DTYPES,
    Network,
    first_arithmetic,
    quantisation_of,
    read_network,
    signature_of,
    text,
    users,
    write_network,
)
from services.training.intake.tflite_metadata import NAME, Metadata, read_metadata
from services.training.intake.tflite_pixels import LEVELS, pixels_for

ORIGINAL: Final = "original.tflite"
FUSED: Final = "fused.tflite"
TASK: Final = "task.json"
ANSWER: Final = "answer.json"
IMAGES: Final = "images.npy"
SCORES: Final = "scores.npy"

_MEMORY: Final = 4 << 30
"""Bytes, beside ten times the size of the file."""
_BATCHES: Final = (1, 3)


def describe(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Say what the file takes and gives, once LiteRT was seen to run it."""
    content = (folder / ORIGINAL).read_bytes()
    network = read_network(content, task["output"])
    dtype = _input_type(network)
    quantised = quantisation_of(network.input_tensor)
    if dtype == "int8" and quantised is None:
        raise unsupported("the model's input is int8 without a scale: what it stands for is open")
    output = network.output_tensor
    kind = DTYPES[output.type]
    if kind in LEVELS and quantisation_of(output) is not None:
        kind = "float32"
    signature = signature_of(output)
    classes = check_scores(signature if len(signature) == 2 else (None, *signature[1:]), kind)
    metadata = _metadata(network, content)
    shape = signature_of(network.input_tensor)
    if len(shape) == 4:
        _Interpreter(folder / ORIGINAL, network).allocate([side or 64 for side in shape])
    first = first_arithmetic(network)
    return {
        "shape": [None, *shape[1:]],
        "dtype": dtype,
        "levels": _levels(network),
        "classes": classes,
        "arithmetic": [first.scale.tolist(), first.offset.tolist()],
        "normalisation": metadata.normalisation,
        "labels": metadata.labels,
    }


def put_together(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Write the fused model, once LiteRT was seen to run it in batches of several sizes."""
    network = read_network((folder / ORIGINAL).read_bytes(), task["output"])
    height, width, channels = task["shape"]
    pixels = pixels_for(*_input_kind(network), channels, _normalisation(task))
    fuse(network, (height, width, channels), pixels)
    write_network(network, folder / FUSED)
    interpreter = _Interpreter(folder / FUSED, network)
    for batch in _BATCHES:
        try:
            given = np.zeros((batch, height, width, channels), np.uint8)
            got = interpreter.run(given, 0)
        except (RuntimeError, ValueError) as error:
            raise unsupported(
                f"LiteRT cannot run it in batches of {batch}: {_gist(error)}"
            ) from error
        if len(got) != batch:
            raise unsupported(f"the model's batch is fixed: a batch of {batch} gives {len(got)}")
    return {}


def score(folder: Path, task: dict[str, Any]) -> dict[str, Any]:
    """Write the scores of pictures by the original file, one at a time."""
    network = read_network((folder / ORIGINAL).read_bytes(), task["output"])
    images = np.load(folder / IMAGES)
    pixels = pixels_for(*_input_kind(network), images.shape[-1], _normalisation(task))
    interpreter = _Interpreter(folder / ORIGINAL, network)
    # A model with a fixed batch is given the same picture in all places of it.
    batch = signature_of(network.input_tensor)[0] or 1
    scores = []
    for image in pixels.prepare(images):
        got = interpreter.run(np.repeat(image[np.newaxis], batch, axis=0), network.output)
        scores.append(_dequantised(got[0], quantisation_of(network.output_tensor)))
    np.save(folder / SCORES, np.stack(scores))
    return {}


TASKS: Final[dict[str, Callable[[Path, dict[str, Any]], dict[str, Any]]]] = {
    task.__name__: task for task in (describe, put_together, score)
}


class _Interpreter:
    def __init__(self, path: Path, network: Network) -> None:
        from ai_edge_litert.interpreter import Interpreter

        try:
            self._interpreter = Interpreter(model_path=str(path), num_threads=1)
        except (RuntimeError, ValueError) as error:
            raise unsupported(f"LiteRT cannot load it: {_gist(error)}") from error

    def allocate(self, shape: list[int]) -> None:
        """Get ready for an input of a shape; InvalidRequestError when that fails."""
        try:
            self._resize(shape)
        except (RuntimeError, ValueError) as error:
            raise unsupported(f"LiteRT cannot run it: {_gist(error)}") from error

    def run(self, values: npt.NDArray[Any], output: int) -> npt.NDArray[Any]:
        """Return an output for an input, whose shape it takes on."""
        self._resize(list(values.shape))
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], values)
        self._interpreter.invoke()
        index = self._interpreter.get_output_details()[output]["index"]
        return np.asarray(self._interpreter.get_tensor(index))

    def _resize(self, shape: list[int]) -> None:
        details = self._interpreter.get_input_details()[0]
        if list(details["shape"]) != shape:
            self._interpreter.resize_tensor_input(details["index"], shape)
        self._interpreter.allocate_tensors()


def _input_type(network: Network) -> str:
    dtype = DTYPES[network.input_tensor.type]
    if dtype not in ("float32", *LEVELS):
        raise unsupported(f"the model's input must be float32, uint8 or int8 pictures, not {dtype}")
    return dtype


def _levels(network: Network) -> tuple[float, int] | None:
    """Return the scale and the zero point, as for uint8, of the input or what it becomes first."""
    tensor = network.input_tensor
    first = users(network, network.graph.inputs[0])
    if len(first) == 1 and network.operator(first[0]) == "QUANTIZE":
        tensor = network.graph.tensors[first[0].outputs[0]]
    quantisation = quantisation_of(tensor)
    if quantisation is None or (dtype := DTYPES[tensor.type]) not in LEVELS:
        return None
    return quantisation[0], quantisation[1] + LEVELS[dtype]


def _input_kind(network: Network) -> tuple[str, tuple[float, int] | None]:
    return _input_type(network), quantisation_of(network.input_tensor)


def _normalisation(task: dict[str, Any]) -> Normalisation:
    said = task["normalisation"]
    return Normalisation(said["mode"], tuple(said["scale"]), tuple(said["offset"]), said["bgr"])


def _dequantised(
    values: npt.NDArray[Any], quantisation: tuple[float, int] | None
) -> npt.NDArray[np.float32]:
    if values.dtype.kind == "f" or quantisation is None:
        return values.astype(np.float32)
    scale, zero_point = quantisation
    return (values.astype(np.float32) - zero_point) * np.float32(scale)


def _gist(error: Exception) -> str:
    """Return LiteRT's first complaint; it joins them without a space."""
    return str(error).split("\n", 1)[0].split("Node number", 1)[0].strip(" .")


def _metadata(network: Network, content: bytes) -> Metadata:
    for entry in network.model.metadata or ():
        if text(entry.name) == NAME:
            data = bytes(network.model.buffers[entry.buffer].data)
            return read_metadata(data, network.output, content)
    return Metadata()


def main(folder: Path) -> None:
    """Do the task in a folder."""
    size = (folder / ORIGINAL).stat().st_size
    limit = _MEMORY + 10 * size
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task = json.loads((folder / TASK).read_text("utf-8"))
    try:
        answer: dict[str, Any] = {"done": TASKS[task["task"]](folder, task)}
    except InvalidRequestError as error:
        answer = {"refused": error.message}
    except Exception as error:  # parsing a torn file raises anything
        answer = {"refused": f"it is torn ({type(error).__name__})"}
    (folder / ANSWER).write_text(json.dumps(answer), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
