"""A small residual network (K. He and others, https://arxiv.org/abs/1512.03385, section 4.2)."""

from typing import Any, Final

import keras

FILTERS: Final = 16
"""Of the first stage; each further one has twice as many."""
BLOCKS: Final = 2
"""Residual blocks a stage."""
LEAST_SIDE: Final = 8
"""Stages halve the picture until its shorter side would be smaller."""
MOST_STAGES: Final = 5


def resnet(shape: tuple[int, int, int], classes: int) -> Any:
    """Stages of residual blocks, the mean over what is left of the picture, a dense layer.

    Batch norm is synchronized: where several workers train, its mean and variance are those of
    the whole batch, so that their number does not change the result.
    """
    images = keras.Input(shape)
    layer = _normalised(keras.layers.Conv2D(FILTERS, 3, padding="same", use_bias=False)(images))
    layer = keras.layers.ReLU()(layer)
    filters, side = FILTERS, min(shape[:2])
    for stage in range(MOST_STAGES):
        if stage and side // 2 < LEAST_SIDE:
            break
        if stage:
            filters, side = 2 * filters, side // 2
        for block in range(BLOCKS):
            layer = _block(layer, filters, stride=2 if stage and not block else 1)
    layer = keras.layers.GlobalAveragePooling2D()(layer)
    shares = keras.layers.Dense(classes, activation="softmax")(layer)
    return keras.Model(images, shares, name="resnet")


def _block(entry: Any, filters: int, *, stride: int) -> Any:
    """Two convolutions, and a way past them."""
    layer = keras.layers.Conv2D(filters, 3, stride, padding="same", use_bias=False)(entry)
    layer = keras.layers.ReLU()(_normalised(layer))
    layer = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(layer)
    layer = _normalised(layer)
    if stride > 1 or entry.shape[-1] != filters:
        entry = _normalised(keras.layers.Conv2D(filters, 1, stride, use_bias=False)(entry))
    return keras.layers.ReLU()(keras.layers.Add()([layer, entry]))


def _normalised(layer: Any) -> Any:
    return keras.layers.BatchNormalization(momentum=0.9, synchronized=True)(layer)
