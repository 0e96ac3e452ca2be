"""Small .tflite files that strangers might have made, by TensorFlow's own converter.

Import the fixtures where they are needed:

from tests.training.tflite_models import add, plain, repository  # noqa: F401
"""

import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from services.common.models.manifest import Manifest
from services.common.models.native_logs import EVERYTHING, quiet_stderr
from services.common.models.repository import ModelRepository
from services.training.conversion import without_warnings
from tests.training.adding import add_model

SIDE = 16
CLASSES = 5


def net(*front: Any) -> Any:
    """Return a net on 16 x 16 RGB pictures with 5 classes, behind other layers."""
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *front,
            keras.layers.Conv2D(8, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(8, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def floats(model: Any, *, batch: int | None = None) -> bytes:
    """Convert a Keras model without quantising it, for one size of batch or any."""
    function = tf.function(lambda images: model(images, training=False), autograph=False)
    spec = tf.TensorSpec((batch, *model.inputs[0].shape[1:]), tf.float32)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function(spec)]
    )
    return _converted(converter)


def quantised(model: Any, low: float, high: float, dtype: Any = None) -> bytes:
    """Convert a Keras model for inputs of a range; `dtype` is that of input and output."""
    rng = np.random.default_rng(0)

    def examples() -> Iterator[list[Any]]:
        yield [np.full((1, SIDE, SIDE, 3), low, np.float32)]
        yield [np.full((1, SIDE, SIDE, 3), high, np.float32)]
        for _ in range(20):
            yield [rng.uniform(low, high, (1, SIDE, SIDE, 3)).astype(np.float32)]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = examples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if dtype is not None:
        converter.inference_input_type = converter.inference_output_type = dtype
    return _converted(converter)


def _converted(converter: Any) -> bytes:
    with quiet_stderr(EVERYTHING), without_warnings(), redirect_stdout(io.StringIO()):
        return bytes(converter.convert())


@pytest.fixture(scope="module")
def plain() -> bytes:
    """A file of floats for batches of one picture, as most files are: `net()`."""
    return floats(net(), batch=1)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """An empty repository."""
    return ModelRepository(tmp_path / "models")


@pytest.fixture
def add(repository: ModelRepository, tmp_path: Path) -> Callable[..., Manifest]:
    """Add the content of a file, with choices by keyword."""

    def add(content: bytes, **options: Any) -> Manifest:
        path = tmp_path / "net.tflite"
        path.write_bytes(content)
        return add_model(repository, "net", path, **options)

    return add
