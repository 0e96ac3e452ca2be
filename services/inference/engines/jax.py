"""JAX: runs on GPUs where TensorFlow is not installed."""

import os
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from services.common.errors import ModelRefusedError
from services.common.models.manifest import Manifest
from services.inference.engines.interface import Engine
from services.inference.engines.keras_backend import import_keras

Weights = tuple[list[Any], list[Any]]
"""Trainable and other weights, as jax.Array."""


@dataclass(frozen=True, slots=True)
class Network:
    """A Keras model as a pure function, and its weights on the device."""

    forward: Callable[[Weights, Any], Any]
    """Weights and uint8 pictures [n, height, width, channels] to scores [n, classes]."""
    weights: Weights


class JaxEngine(Engine):
    """Runs a .keras artefact as one XLA program for each size of batch.

    The weights lie on the device and are handed to every program, so that a size costs its code
    alone. Keras and JAX are imported at the first load.
    """

    name = "jax"
    packages = ("jax", "keras")
    artefact_formats = ("keras",)

    def __init__(self, network: Network, manifest: Manifest) -> None:
        # A size that was not warmed has to be compiled first.
        super().__init__(manifest, exact=False)
        self._network: Network | None = network
        self._programs: dict[int, Callable[[Weights, Any], Any]] = {}
        # Keras models are cyclic garbage: a version that is only dropped would keep its memory
        # on the device until the collector comes.
        self._free = weakref.finalize(self, _delete, [*network.weights[0], *network.weights[1]])
        self._free.atexit = False

    @classmethod
    def prepare(cls) -> None:
        """See Engine.prepare."""
        import_keras("jax")

    @classmethod
    def load(cls, path: Path, manifest: Manifest, *, threads: int) -> Self:
        """See Engine.load. The first load of a process settles the number of threads for all."""
        # Read once, when JAX begins. By default it takes three quarters of a GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        os.environ.setdefault("NPROC", str(threads))
        try:
            network = _load(import_keras("jax"), path, manifest)
        except ModelRefusedError:
            raise
        except Exception as error:
            raise ModelRefusedError(f"JAX cannot load {path}: {error}") from error
        return cls(network, manifest)

    def close(self) -> None:
        """See Engine.close."""
        self._network = None
        self._programs = {}
        self._free()

    def _predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if self._network is None:
            raise RuntimeError("the model is closed")
        program = self._programs.get(len(images))
        if program is None:
            program = self._programs[len(images)] = _compile(self._network, images.shape)
        # The conversion waits for the device without the interpreter lock.
        return np.asarray(program(self._network.weights, images))


def _load(keras: Any, path: Path, manifest: Manifest) -> Network:
    import jax

    # The process owns one device, the first that it sees.
    device = jax.local_devices()[0]
    # Within the scope weights are not made up before they are read: each shape's random numbers
    # would be a program to compile, several seconds in all.
    with jax.default_device(device), keras.StatelessScope(initialize_variables=False) as scope:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if (shape := tuple(model.inputs[0].shape[1:])) != manifest.input.shape:
        raise ModelRefusedError(
            f"{path} takes pictures of {shape}, and its manifest says {manifest.input.shape}"
        )
    trainable, other = (
        [_value(variable, scope) for variable in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    )

    def forward(weights: Weights, images: Any) -> Any:
        scores, _ = model.stateless_call(*weights, images, training=False)
        return scores

    return Network(forward, jax.device_put((trainable, other), device))


def _value(variable: Any, scope: Any) -> Any:
    """Return what was read for a variable; its first value where the file has none."""
    value = scope.get_current_value(variable)
    return variable.value if value is None else value


def _compile(network: Network, shape: tuple[int, ...]) -> Callable[[Weights, Any], Any]:
    import jax

    images = jax.ShapeDtypeStruct(shape, np.uint8)
    program: Callable[[Weights, Any], Any] = (
        jax.jit(network.forward).lower(network.weights, images).compile()
    )
    return program


def _delete(weights: Iterable[Any]) -> None:
    for array in weights:
        array.delete()
