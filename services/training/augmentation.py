"""Training pictures changed at random, so that fewer of them teach as much."""

from typing import Any

import keras

from services.training.settings import TrainingSettings


def augmented(network: Any, shape: tuple[int, int, int], settings: TrainingSettings) -> Any:
    """Return the network with training pictures changed first; otherwise it is unchanged.

    It takes what the network takes, float32 [n, *shape] of 0 to 1, and shares its weights. What
    comes into the picture from outside repeats its border.
    """
    layers = _layers(settings)
    return keras.Sequential([keras.Input(shape), *layers, network]) if layers else network


def _layers(settings: TrainingSettings) -> list[Any]:
    layers: list[Any] = []
    if settings.flip:
        layers.append(keras.layers.RandomFlip("horizontal"))
    if settings.rotation:
        share = settings.rotation / 360
        layers.append(keras.layers.RandomRotation(share, fill_mode="nearest"))
    if settings.zoom:
        layers.append(keras.layers.RandomZoom(settings.zoom, fill_mode="nearest"))
    if settings.shift:
        layers.append(
            keras.layers.RandomTranslation(settings.shift, settings.shift, fill_mode="nearest")
        )
    if settings.contrast:
        layers.append(keras.layers.RandomContrast(settings.contrast, value_range=(0, 1)))
    return layers
