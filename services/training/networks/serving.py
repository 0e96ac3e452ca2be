"""What a trained network still has of its training, and a shard has no use for."""

from typing import Any

import keras


def without_workers(model: Any) -> Any:
    """Return a trained keras.Model whose batch norm is no longer synchronized.

    What that does happens in training alone, and Keras on JAX loads no layer that asks for it.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            without_workers(layer)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = False
    return model
