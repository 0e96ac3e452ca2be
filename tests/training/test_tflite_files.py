"""Stock .tflite files, added for real."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.common.models.litert import LiteRtModel
from services.common.models.manifest import Manifest
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.intake.tflite_graph import read_network, shape_of
from tests.training import metadata
from tests.training.tflite_models import (  # noqa: F401  # fixtures
    SIDE,
    add,
    floats,
    net,
    plain,
    quantised,
    repository,
)

# Fixtures have the names of their imports.
# ruff: noqa: F811

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PRESETS = {mode: Normalisation.preset(mode) for mode in ("tf", "torch", "caffe", "none")}
IMAGES = np.random.default_rng(4).integers(0, 256, (6, SIDE, SIDE, 3), dtype=np.uint8)


def scores(repository: ModelRepository, manifest: Manifest) -> Any:
    with LiteRtModel(repository.artefact_path(manifest, "litert"), threads=1) as fused:
        return fused.predict(IMAGES)


@pytest.mark.parametrize("mode", ["torch", "caffe"])
def test_normalising_is_put_before_a_graph_of_floats(
    add: Callable[..., Manifest],
    repository: ModelRepository,
    plain: bytes,
    mode: str,
) -> None:
    model = net()
    manifest = add(plain, normalisation=PRESETS[mode])
    expected = np.asarray(model(PRESETS[mode].apply(IMAGES), training=False))
    np.testing.assert_allclose(scores(repository, manifest), expected, atol=1e-4)
    assert [artefact.format for artefact in manifest.artefacts] == ["litert"]
    assert manifest.input == InputSpec(SIDE, SIDE, 3)
    assert manifest.preprocessing == PRESETS[mode]
    assert manifest.metrics["litert_difference"] <= 1e-5
    assert manifest.outputs.activation == "softmax"


def test_a_file_for_any_batch_and_size(
    add: Callable[..., Manifest], repository: ModelRepository
) -> None:
    pooled = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(4, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3),
        ]
    )
    content = floats(pooled)
    with pytest.raises(InvalidRequestError, match="choose one with --crop"):
        add(content, normalisation=PRESETS["tf"])
    manifest = add(content, normalisation=PRESETS["tf"], crop=SIDE)
    expected = np.asarray(pooled(PRESETS["tf"].apply(IMAGES)))
    np.testing.assert_allclose(scores(repository, manifest), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("low", "high", "dtype", "assumed"),
    [
        (-1, 1, tf.uint8, "tf"),
        (-1, 1, None, "tf"),
        (0, 255, tf.int8, "none"),
        (-2.1, 2.6, tf.int8, None),
    ],
    ids=str,
)
def test_a_quantised_file(
    add: Callable[..., Manifest],
    repository: ModelRepository,
    low: float,
    high: float,
    dtype: Any,
    assumed: str | None,
) -> None:
    model = net(keras.layers.Rescaling(1 / high))
    content = quantised(model, low, high, dtype)
    heard: list[str] = []
    if assumed is None:
        with pytest.raises(InvalidRequestError, match="say it with --preprocessing") as raised:
            add(content)
        assert raised.value.reason == "UNKNOWN_PREPROCESSING"
        manifest = add(content, normalisation=PRESETS["torch"])
    else:
        manifest = add(content, notice=heard.append)
        assert str(manifest.preprocessing) == assumed
        assert heard[0].startswith(f"preprocessing {assumed}: its quantised input stands for ")
    # As good as eight bits are.
    expected = np.asarray(model(manifest.preprocessing.apply(IMAGES), training=False))
    np.testing.assert_allclose(scores(repository, manifest), expected, atol=0.1)
    assert manifest.metrics["litert_difference"] <= 1e-4


def test_what_facet_made_can_be_added_again(
    add: Callable[..., Manifest], repository: ModelRepository, plain: bytes
) -> None:
    first = add(plain, normalisation=PRESETS["caffe"])
    content = repository.artefact_path(first, "litert").read_bytes()
    second = add(content)
    assert second.preprocessing == PRESETS["none"]
    np.testing.assert_allclose(scores(repository, second), scores(repository, first), atol=1e-6)
    with pytest.raises(InvalidRequestError, match="must be 'none'"):
        add(content, normalisation=PRESETS["caffe"])


def test_a_batch_that_cannot_be_freed_is_refused(
    add: Callable[..., Manifest], repository: ModelRepository
) -> None:
    # All pictures of a batch become one row: two at once are no longer two.
    images = keras.Input((4, 4, 3), batch_size=1)
    rows = keras.ops.reshape(images, (4, 12))
    mixed = keras.Model(images, keras.ops.reshape(keras.ops.transpose(rows), (1, 48)))
    with pytest.raises(InvalidRequestError) as raised:
        add(floats(mixed, batch=1), normalisation=PRESETS["none"])
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert repository.list_models() == ()


def test_metadata_says_how_and_what(add: Callable[..., Manifest], plain: bytes) -> None:
    labels = ["ant", "bee", "cat", "dog", "élan"]
    heard: list[str] = []
    content = metadata.written(plain, [127.5], [127.5], labels)
    manifest = add(content, notice=heard.append)
    assert manifest.preprocessing == PRESETS["tf"]
    assert heard[0] == "preprocessing tf: its metadata says so"
    assert manifest.labels == tuple(labels)
    own = add(metadata.written(plain, [120, 110, 100], [60, 61, 62], labels[:2]), labels=labels)
    assert own.preprocessing.mode == "custom"
    values = own.preprocessing.apply(np.array([[180, 171, 162]], np.uint8))
    np.testing.assert_allclose(values, 1, atol=1e-5)
    with pytest.raises(InvalidRequestError, match="2 labels for a model with 5 classes"):
        add(metadata.written(plain, [0], [1], labels[:2]))


def _many_outputs(images: Any) -> dict[str, Any]:
    flat = tf.reshape(images, [-1, 48])
    return {"scores": flat[:, :7], "other": flat[:, :2] * 2}


def _module(function: Callable[..., Any], *specs: Any) -> bytes:
    traced = tf.function(function, autograph=False).get_concrete_function(*specs)
    return bytes(tf.lite.TFLiteConverter.from_concrete_functions([traced]).convert())


def test_an_output_is_chosen_by_name(add: Callable[..., Manifest]) -> None:
    content = _module(_many_outputs, tf.TensorSpec((None, 4, 4, 3), tf.float32))
    with pytest.raises(InvalidRequestError, match=r"has 2 outputs, .*choose one with --output"):
        add(content, normalisation=PRESETS["none"])
    with pytest.raises(InvalidRequestError, match="no output 'scores', but "):
        add(content, normalisation=PRESETS["none"], output="scores")
    names = {
        shape_of(network.output_tensor)[1]: name
        for name in ("Identity", "Identity_1")
        for network in [read_network(content, name)]
    }
    manifest = add(content, normalisation=PRESETS["none"], output=names[7])
    assert manifest.outputs.classes == 7


PICTURES = tf.TensorSpec((None, 4, 4, 3), tf.float32)


@pytest.mark.parametrize(
    ("function", "specs", "says"),
    [
        (lambda one, two: tf.reshape(one + two, [-1, 48]), [PICTURES] * 2, "has 2 inputs"),
        (lambda images: images * 2, [PICTURES], "output must be"),
        (
            lambda values: values * 2,
            [tf.TensorSpec((None, 9), tf.float32)],
            "must be a batch of pictures",
        ),
        (
            lambda images: tf.reshape(images, [-1, 48]),
            [tf.TensorSpec((None, 4, 4, 3), tf.int32)],
            "must be float32, uint8 or int8 pictures, not int32",
        ),
    ],
)
def test_what_recognises_no_pictures_is_refused(
    add: Callable[..., Manifest],
    repository: ModelRepository,
    function: Callable[..., Any],
    specs: list[Any],
    says: str,
) -> None:
    with pytest.raises(InvalidRequestError, match=says) as raised:
        add(_module(function, *specs), normalisation=PRESETS["none"])
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert repository.list_models() == ()
