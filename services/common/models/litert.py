"""A LiteRT (.tflite) model as a function from pictures to scores."""

from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.native_logs import quiet_stderr


class LiteRtModel:
    """One interpreter, which is resized to each batch as it comes.

    Once it has seen its largest batch a resize costs about 0.1 ms, and one interpreter holds half
    the memory of one a batch size. Not for use by two threads at once; the calls release the
    interpreter lock of Python.
    """

    def __init__(self, path: Path, threads: int) -> None:
        """Load a file; ModelRefusedError when LiteRT cannot run it."""
        # Imported here: whoever only handles model files needs no engine.
        from ai_edge_litert.interpreter import Interpreter

        with quiet_stderr():
            try:
                self._interpreter = Interpreter(model_path=str(path), num_threads=threads)
                self._interpreter.allocate_tensors()
            except (RuntimeError, ValueError) as error:
                raise ModelRefusedError(f"LiteRT cannot load {path}: {error}") from error
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or len(outputs) != 1:
            raise ModelRefusedError(f"{path} does not have one input and one output")
        signature = tuple(map(int, inputs[0]["shape_signature"]))
        if inputs[0]["dtype"] is not np.uint8 or len(signature) != 4 or signature[0] != -1:
            raise ModelRefusedError(f"{path} does not take uint8 pictures in batches of any size")
        if outputs[0]["dtype"] is not np.float32:
            raise ModelRefusedError(f"{path} does not give float32 scores")
        self._shape = signature[1:]
        self._input: int = inputs[0]["index"]
        self._output: int = outputs[0]["index"]
        self._batch = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels)"""
        return self._shape

    def predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 scores [n, classes] of uint8 pictures [n, height, width, channels]."""
        if self._interpreter is None:
            raise RuntimeError("the model is closed")
        batch = len(images)
        if batch != self._batch:
            self._interpreter.resize_tensor_input(self._input, [batch, *self._shape])
            self._interpreter.allocate_tensors()
            self._batch = batch
        self._interpreter.set_tensor(self._input, np.ascontiguousarray(images))
        self._interpreter.invoke()
        scores: npt.NDArray[np.float32] = self._interpreter.get_tensor(self._output)
        return scores

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the interpreter's memory. Idempotent."""
        self._interpreter = None
