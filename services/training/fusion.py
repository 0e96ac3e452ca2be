"""Puts casting and normalising into the model's own graph, so that it takes raw uint8 pictures."""

from typing import Any

import keras

from services.common.errors import InvalidRequestError
from services.common.models.normalisation import Normalisation


def fuse(model: Any, shape: tuple[int, int, int], normalisation: Normalisation) -> Any:
    """Return a keras.Model from uint8 [n, *shape] to the model's scores, float32 [n, classes].

    The weights are shared with `model`. Raises InvalidRequestError when the two don't fit.
    """
    normalisation.check_channels(shape[2])
    images = keras.Input(shape, dtype="uint8", name="images")
    scores = model(_normalised(images, model, normalisation))
    if scores.dtype != "float32":
        scores = keras.ops.cast(scores, "float32")
    return keras.Model(images, scores, name="fused")


def _normalised(images: Any, model: Any, normalisation: Normalisation) -> Any:
    if model.inputs[0].dtype == "uint8":
        if normalisation.mode != "none":
            raise InvalidRequestError(
                "the model takes uint8 pictures and normalises them itself: "
                "its preprocessing must be 'none'"
            )
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
