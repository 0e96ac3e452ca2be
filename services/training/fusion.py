"""Puts casting and normalising into a Keras model's own graph, so that it takes raw pictures."""

from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from services.common.models.artefacts import Artefact
from services.common.models.normalisation import Normalisation
from services.training.conversion import write_graph
from services.training.fused import Fused, check_fit

KERAS_FILE: Final = "model.keras"


def fuse(model: Any, shape: tuple[int, int, int], normalisation: Normalisation) -> Any:
    """Return a keras.Model from uint8 [n, *shape] to the model's scores, float32 [n, classes].

    The weights are shared with `model`. Raises InvalidRequestError when the two don't fit.
    """
    check_fit(normalisation, model.inputs[0].dtype, shape[2])
    images = keras.Input(shape, dtype="uint8", name="images")
    scores = model(_normalised(images, model, normalisation))
    if scores.dtype != "float32":
        scores = keras.ops.cast(scores, "float32")
    return keras.Model(images, scores, name="fused")


def fused_keras(model: Any, shape: tuple[int, int, int], normalisation: Normalisation) -> Fused:
    """Return a keras.Model, fused, as what is packed; InvalidRequestError when they don't fit."""
    fused = fuse(model, shape, normalisation)

    def predict(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        return np.asarray(fused(images, training=False), np.float32)

    def save(folder: Path) -> Artefact:
        fused.save(folder / KERAS_FILE)
        return Artefact.describe(folder / KERAS_FILE, "keras")

    def by_graph(path: Path) -> None:
        signature = tf.TensorSpec(fused.inputs[0].shape, tf.uint8)
        graph = tf.function(lambda images: fused(images, training=False), autograph=False)
        write_graph(graph.get_concrete_function(signature), path)

    def by_keras(path: Path) -> None:
        fused.export(path, format="litert", verbose=False)

    # By the traced graph itself: up to ten times quicker than Keras's way by a SavedModel.
    return Fused(predict, save, (by_graph, by_keras))


def _normalised(images: Any, model: Any, normalisation: Normalisation) -> Any:
    if model.inputs[0].dtype == "uint8":
        return images
    if normalisation.bgr:
        images = keras.ops.flip(images, axis=-1)
    return keras.layers.Rescaling(
        _one_or_many(normalisation.scale),
        _one_or_many(tuple(-value for value in normalisation.offset)),
        dtype="float32",
        name="normalise",
    )(images)


def _one_or_many(values: tuple[float, ...]) -> float | list[float]:
    return values[0] if len(values) == 1 else list(values)
