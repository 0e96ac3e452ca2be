"""TensorFlow: runs on GPUs, and runs models that LiteRT cannot."""

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.folder_files import unpack
from services.common.models.manifest import Manifest
from services.inference.engines.interface import Engine
from services.inference.engines.keras_backend import import_keras

Graph = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]


class TensorFlowEngine(Engine):
    """Runs a .keras or SavedModel artefact as one graph with the weights frozen into it.

    Frozen weights let TensorFlow fold batch normalisation and lay out the kernels once: half the
    time of the same graph with variables, on a CPU. TensorFlow is imported at the first load.
    """

    name = "tensorflow"
    packages = ("tensorflow",)
    artefact_formats = ("keras", "saved_model")

    def __init__(self, graph: Graph, manifest: Manifest, *, on_gpu: bool) -> None:
        # A GPU tunes its kernels once a shape, so that only warmed sizes are quick there.
        super().__init__(manifest, exact=not on_gpu)
        self._graph: Graph | None = graph

    @classmethod
    def prepare(cls) -> None:
        """See Engine.prepare."""
        # Its chatter is not held back: a shard's standard error is a log, and what TensorFlow
        # says last when it aborts on an unfit machine must be in there.
        import_keras("tensorflow")
        import tensorflow  # noqa: F401, ICN001

    @classmethod
    def load(cls, path: Path, manifest: Manifest, *, threads: int) -> Self:
        """See Engine.load. The first load of a process settles the number of threads for all."""
        keras = import_keras("tensorflow")
        import tensorflow as tf

        on_gpu = _set_up_devices(tf, threads)
        try:
            if cls.format_of(manifest) == "keras":
                model = keras.saving.load_model(path, compile=False, safe_mode=True)
                graph = _frozen(tf, lambda images: model(images, training=False), manifest)
            else:
                graph = _frozen_saved_model(tf, path, manifest)
        except ModelRefusedError:
            raise
        except Exception as error:
            raise ModelRefusedError(f"TensorFlow cannot load {path}: {error}") from error
        return cls(graph, manifest, on_gpu=on_gpu)

    def close(self) -> None:
        """See Engine.close."""
        self._graph = None

    def _predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self._graph is None:
            raise RuntimeError("the model is closed")
        return self._graph(images)


def _set_up_devices(tf: Any, threads: int) -> bool:
    """Set threads and GPU memory, as far as TensorFlow has not begun; tell whether it has a GPU."""
    gpus = tf.config.list_physical_devices("GPU")
    with contextlib.suppress(RuntimeError):
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    return bool(gpus)


def _frozen_saved_model(tf: Any, path: Path, manifest: Manifest) -> Graph:
    """Return the graph of a SavedModel that training packed: `predict` takes raw pictures."""
    with tempfile.TemporaryDirectory(prefix="facet-model-") as folder:
        unpack(path, Path(folder))
        loaded = tf.saved_model.load(folder)
        return _frozen(tf, loaded.predict, manifest)


def _frozen(tf: Any, function: Callable[[Any], Any], manifest: Manifest) -> Graph:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    signature = tf.TensorSpec((None, *manifest.input.shape), tf.uint8)
    traced = tf.function(function, autograph=False)
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function(signature))

    def graph(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        (scores,) = frozen(tf.constant(images))
        return np.asarray(scores.numpy())

    return graph
