"""SavedModels: folders with a graph of TensorFlow and its weights."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from services.common.models.artefacts import Artefact
from services.common.models.folder_files import pack
from services.common.models.input_spec import InputSpec
from services.common.models.normalisation import Normalisation
from services.training.conversion import without_warnings, write_graph
from services.training.fused import Fused, check_fit
from services.training.intake import assumptions
from services.training.intake.assumptions import Assumed, Linear
from services.training.intake.graph_safety import check_safe
from services.training.intake.source import Pictures, Source, check_scores, unsupported

SAVED_MODEL_FILE: Final = "model.savedmodel.tar"

_DEFAULT: Final = "serving_default"


class SavedModelSource(Source):
    """One signature of a SavedModel, from one batch of pictures to one output of scores."""

    def __init__(self, folder: Path, signature: str | None, output: str | None) -> None:
        """Load a folder whose graph reaches nowhere beyond the model.

        Raises InvalidRequestError (UNSUPPORTED_MODEL) when it does, or when the signature does
        not recognise pictures.
        """
        check_safe((folder / "saved_model.pb").read_bytes(), folder)
        self._loaded = _load(folder)
        self._function = _choose_signature(self._loaded.signatures, signature)
        given = self._function.structured_input_signature[1]
        if len(given) != 1:
            raise unsupported(f"the model has {len(given)} inputs; it must have one")
        ((self._input, taken),) = given.items()
        self.pictures = Pictures.of(_sides(taken.shape), taken.dtype.name)
        self._dtype = taken.dtype
        self._output = _choose_output(self._function.structured_outputs, output)
        scores = self._function.structured_outputs[self._output]
        self.classes = check_scores(_sides(scores.shape), scores.dtype.name)

    def assumed(self) -> Assumed | None:
        """See Source.assumed."""
        if self._dtype == tf.uint8:
            return assumptions.none("the model takes uint8 pictures")
        return assumptions.from_arithmetic(_first_arithmetic(self._function))

    def fuse(self, spec: InputSpec, normalisation: Normalisation) -> Fused:
        """See Source.fuse."""
        check_fit(normalisation, self._dtype.name, spec.channels)
        signature = tf.TensorSpec((None, *spec.shape), tf.uint8, name="images")

        def fused(images: Any) -> Any:
            values = _normalised(images, normalisation, self._dtype)
            return tf.cast(self._function(**{self._input: values})[self._output], tf.float32)

        predict = tf.function(fused, input_signature=[signature], autograph=False)
        graph = predict.get_concrete_function()

        def scores(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
            return np.asarray(predict(tf.constant(images)).numpy())

        return Fused(scores, self._save(predict), (lambda path: write_graph(graph, path),))

    def _save(self, predict: Any) -> Callable[[Path], Artefact]:
        def save(folder: Path) -> Artefact:
            module = tf.Module()
            # It holds the weights and tables that the function uses.
            module.network = self._loaded
            module.predict = predict
            with tempfile.TemporaryDirectory(prefix="facet-model-") as written:
                with without_warnings():
                    tf.saved_model.save(module, written)
                pack(Path(written), folder / SAVED_MODEL_FILE)
            return Artefact.describe(folder / SAVED_MODEL_FILE, "saved_model")

        return save


def _load(folder: Path) -> Any:
    try:
        with without_warnings():
            return tf.saved_model.load(str(folder))
    except Exception as error:  # TensorFlow raises whatever it finds
        first = str(error).split("\n", 1)[0]
        raise unsupported(f"TensorFlow cannot load {folder}: {first}") from error


def _choose_signature(signatures: Mapping[str, Any], wanted: str | None) -> Any:
    names = sorted(signatures)
    if wanted is None:
        if not names:
            raise unsupported("the SavedModel has no signature; save it with signatures=...")
        if _DEFAULT not in names and len(names) > 1:
            raise unsupported(
                f"the SavedModel has the signatures {', '.join(names)}: choose one with --signature"
            )
        wanted = _DEFAULT if _DEFAULT in names else names[0]
    if wanted not in names:
        raise unsupported(f"the SavedModel has no signature {wanted!r}, but {', '.join(names)}")
    return signatures[wanted]


def _choose_output(outputs: Mapping[str, Any], wanted: str | None) -> str:
    names = sorted(outputs)
    if wanted is None:
        if len(names) != 1:
            raise unsupported(
                f"the model has {len(names)} outputs, {', '.join(names)}: choose one with --output"
            )
        return names[0]
    if wanted not in names:
        raise unsupported(f"the model has no output {wanted!r}, but {', '.join(names)}")
    return wanted


def _sides(shape: Any) -> tuple[int | None, ...] | None:
    return None if shape.rank is None else tuple(shape)


def _normalised(images: Any, normalisation: Normalisation, dtype: Any) -> Any:
    if dtype == tf.uint8:
        return images
    if normalisation.bgr:
        images = tf.reverse(images, [-1])
    scale = np.asarray(normalisation.scale, np.float32)
    offset = np.asarray(normalisation.offset, np.float32)
    return tf.cast(tf.cast(images, tf.float32) * scale - offset, dtype)


_PASSING: Final = ("Identity", "Cast", "Pad", "PadV2", "StopGradient")


def _first_arithmetic(function: Any) -> Linear:
    """Return what a signature does with its input before all else."""
    graph = convert_variables_to_constants_v2(function).graph
    done = Linear.nothing()
    tensor = next(
        operation.outputs[0]
        for operation in graph.get_operations()
        if operation.type == "Placeholder" and operation.outputs[0].dtype != tf.resource
    )
    # The shape is looked at in many graphs, to no effect on the values.
    while len(users := [user for user in tensor.consumers() if user.type != "Shape"]) == 1:
        after = _after(users[0], tensor, done)
        if after is None:
            break
        done, tensor = after, users[0].outputs[0]
    return done


def _after(operation: Any, tensor: Any, done: Linear) -> Linear | None:
    if operation.type in _PASSING:
        return done
    if operation.type not in _OPERATIONS:
        return None
    left, right = operation.inputs
    if right is tensor and operation.type in ("Mul", "Add", "AddV2"):
        left, right = right, left
    value = tf.get_static_value(right)
    if left is not tensor or value is None:
        return None
    return _OPERATIONS[operation.type](done, np.asarray(value, np.float64))


_OPERATIONS: Final[Mapping[str, Callable[[Linear, npt.NDArray[np.float64]], Linear]]] = {
    "Mul": lambda done, by: done.times(by),
    "RealDiv": lambda done, by: done.times(1 / by),
    "Add": lambda done, by: done.plus(by),
    "AddV2": lambda done, by: done.plus(by),
    "Sub": lambda done, by: done.plus(-by),
}
