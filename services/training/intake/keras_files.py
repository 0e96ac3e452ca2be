"""Keras models: loaded without running their code, and only if they recognise pictures."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

from services.common.models.input_spec import InputSpec
from services.common.models.normalisation import Normalisation
from services.training.fused import Fused
from services.training.fusion import fused_keras
from services.training.intake import assumptions
from services.training.intake.assumptions import Assumed, Linear
from services.training.intake.source import Pictures, Source, check_scores, unsupported


class KerasSource(Source):
    """A keras.Model of a .keras or HDF5 file."""

    def __init__(self, path: Path) -> None:
        """Load a file.

        Raises InvalidRequestError (UNSUPPORTED_MODEL) when it cannot be loaded without code of
        its own, or does not recognise pictures.
        """
        self._model = _load(path)
        inputs = getattr(self._model, "inputs", None) or []
        if len(inputs) != 1:
            raise unsupported(f"the model has {len(inputs)} inputs; it must have one")
        self.pictures = Pictures.of(inputs[0].shape, inputs[0].dtype)
        self.classes = output_classes(self._model)

    def assumed(self) -> Assumed | None:
        """See Source.assumed."""
        return assumed_for(self._model)

    def fuse(self, spec: InputSpec, normalisation: Normalisation) -> Fused:
        """See Source.fuse."""
        return fused_keras(self._model, spec.shape, normalisation)


def output_classes(model: Any) -> int:
    """Return the number of scores a picture; InvalidRequestError (UNSUPPORTED_MODEL) when unfit."""
    outputs = getattr(model, "outputs", None) or []
    if len(outputs) != 1:
        raise unsupported(f"the model has {len(outputs)} outputs; it must have one")
    return check_scores(outputs[0].shape, outputs[0].dtype)


def assumed_for(model: Any) -> Assumed | None:
    """Return how a keras.Model wants its pictures normalised, as far as that can be seen."""
    if model.inputs[0].dtype == "uint8":
        return assumptions.none("the model takes uint8 pictures")
    arithmetic = assumptions.from_arithmetic(_first_arithmetic(model))
    return arithmetic or assumptions.from_layers(set(_layer_names(model)))


def _load(path: Path) -> Any:
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever a layer raises
        raise unsupported(_explain(path, error)) from error


def _explain(path: Path, error: Exception) -> str:
    text = str(error)
    first = next(iter(text.strip().splitlines()), type(error).__name__)
    if "Could not locate" in text or "register_keras_serializable" in text:
        return f"{path} needs classes that are not part of Keras: {first}"
    if "safe_mode" in text or "lambda" in text.lower():
        return f"{path} holds code of its own (a Lambda layer), which is never run"
    return f"Keras cannot load {path}: {first}"


def _layer_names(model: Any) -> Iterator[str]:
    for layer in model.layers:
        yield layer.name
        if isinstance(layer, keras.Model):
            yield from _layer_names(layer)


# Layers that leave the values of pixels what they are, when nothing is learned.
_PASSING: Final = (
    "Random",
    "Resizing",
    "CenterCrop",
    "ZeroPadding2D",
    "Identity",
    "Dropout",
    "Cast",
)

_OPERATIONS: Final[Mapping[str, Callable[[Linear, Any], Linear]]] = {
    "Multiply": lambda value, by: value.times(by),
    "TrueDivide": lambda value, by: value.times(1 / np.asarray(by, np.float64)),
    "Divide": lambda value, by: value.times(1 / np.asarray(by, np.float64)),
    "Add": lambda value, by: value.plus(by),
    "Subtract": lambda value, by: value.plus(-np.asarray(by, np.float64)),
}


def _first_arithmetic(model: Any) -> Linear:
    """Return what a model does with pixels before its first layer that learns."""
    done = Linear.nothing()
    graph = getattr(model, "_functional", None) or model
    tensor = graph.inputs[0]
    while True:
        users = [
            operation
            for operation in graph.operations
            if any(
                tensor is used for node in operation._inbound_nodes for used in node.input_tensors
            )
        ]
        if len(users) != 1:
            return done
        (user,) = users
        if isinstance(user, keras.Model):
            inner = _first_arithmetic(user)
            return done.times(inner.scale).plus(inner.offset)
        after = _after(user, done)
        if after is None:
            return done
        done, tensor = after, user.output


def _after(operation: Any, done: Linear) -> Linear | None:
    """Return what has been done after an operation; None when it is no arithmetic."""
    kind = type(operation).__name__
    if kind.startswith(_PASSING):
        return done
    if kind == "Rescaling":
        return done.times(operation.scale).plus(operation.offset)
    if kind == "Normalization" and not operation.invert:
        deviation = np.sqrt(np.asarray(operation.variance))
        mean = np.asarray(operation.mean)
        return done.plus(-mean).times(1 / np.maximum(deviation, keras.backend.epsilon()))
    if kind in _OPERATIONS:
        values = operation._inbound_nodes[0].arguments.args
        if len(values) == 2 and not keras.utils.is_keras_tensor(values[1]):
            return _OPERATIONS[kind](done, values[1])
    return None
