"""Small SavedModels that strangers might have made."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf

from services.training.conversion import without_warnings

SIDE = 8
CLASSES = 6
PICTURES = tf.TensorSpec((None, SIDE, SIDE, 3), tf.float32, name="pictures")


class Net(tf.Module):
    """One dense layer on 8 x 8 RGB pictures, with a second output and a signature beside."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = tf.Variable(tf.random.stateless_normal((SIDE * SIDE * 3, CLASSES), (1, 2)))

    def scores(self, pictures: Any) -> Any:
        """Return shares of the classes."""
        flat = tf.reshape(pictures, [-1, SIDE * SIDE * 3])
        return tf.nn.softmax(tf.matmul(flat, self.weights) / 10)


def save(
    module: tf.Module, folder: Path, *specs: Any, **signatures: Callable[..., dict[str, Any]]
) -> Path:
    """Save a module with these signatures, each of inputs of these kinds, and return the folder."""
    specs = specs or (PICTURES,)
    traced = {
        name: tf.function(function, input_signature=specs, autograph=False)
        for name, function in signatures.items()
    }
    with without_warnings():
        tf.saved_model.save(module, folder, signatures=traced)
    return folder


def export(model: Any, folder: Path) -> Path:
    """Export a Keras model as it does by itself, and return the folder."""
    with without_warnings():
        model.export(folder, verbose=False)
    return folder
