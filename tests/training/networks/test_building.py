"""Networks that are built, learn, and convert."""

import zipfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from services.common.errors import InvalidRequestError
from services.common.models.litert import LiteRtModel
from services.common.models.normalisation import Normalisation
from services.training.conversion import convert
from services.training.fusion import fused_keras
from services.training.networks.building import NETWORKS, build
from services.training.networks.serving import without_workers

# Keras hands its variables to numpy in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def kinds(model: Any) -> set[str]:
    return {type(layer).__name__ for layer in model.layers}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(28, 28, 1), (33, 47, 3)])
def test_each_gives_shares_of_the_classes(name: str, shape: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).random((3, *shape), np.float32)
    shares = np.asarray(build(name, shape, 7)(images, training=False))
    assert shares.shape == (3, 7)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_each_converts_to_litert_with_a_free_batch_size(name: str, tmp_path: Path) -> None:
    shape = (20, 20, 1)
    fused = fused_keras(build(name, shape, 3), shape, Normalisation.custom((0.0,), 1 / 255))
    images = np.random.default_rng(1).integers(0, 256, (5, *shape), dtype=np.uint8)
    expected = fused.predict(images)

    def differs(path: Path) -> str | None:
        with LiteRtModel(path, threads=1) as converted:
            for count in (1, 5, 2):
                found = converted.predict(images[:count])
                np.testing.assert_allclose(found, expected[:count], atol=1e-4)
        return None

    assert convert(fused.converters, tmp_path / "model.tflite", differs) is None


def test_each_is_what_its_name_says() -> None:
    rnn, resnet = build("rnn", (28, 28, 1), 10), build("resnet", (28, 28, 1), 10)
    assert {"LSTM", "Dense"} <= kinds(rnn)
    assert rnn.get_layer(index=1).input.shape == (None, 28, 28)
    assert {"Add", "BatchNormalization", "Conv2D"} <= kinds(resnet)
    norms = [each for each in resnet.layers if isinstance(each, keras.layers.BatchNormalization)]
    assert all(norm.synchronized for norm in norms)


def test_what_is_served_does_not_synchronize(tmp_path: Path) -> None:
    shape = (8, 8, 1)
    inner = build("resnet", shape, 2)
    outer = without_workers(keras.Sequential([keras.Input(shape), inner]))
    images = np.random.default_rng(0).random((2, *shape), np.float32)
    before = np.asarray(outer(images, training=False))
    # Keras on JAX refuses a file with one layer that is synchronized.
    outer.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json")
    assert b'"synchronized": false' in config
    assert b'"synchronized": true' not in config
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(np.asarray(again(images, training=False)), before, atol=1e-6)


def test_a_residual_network_is_as_deep_as_its_pictures_allow() -> None:
    blocks = [
        sum(isinstance(layer, keras.layers.Add) for layer in build("resnet", shape, 2).layers)
        for shape in ((8, 8, 1), (28, 28, 1), (64, 64, 3), (400, 400, 3))
    ]
    assert blocks == [2, 4, 8, 10]


def test_an_unknown_network_and_pictures_that_are_too_small_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match="cnn, rnn, resnet or module:function, not 'mlp'"):
        build("mlp", (28, 28, 1), 10)
    with pytest.raises(InvalidRequestError, match=r"\(2 x 2 x 1\) are too small for .* cnn"):
        build("cnn", (2, 2, 1), 10)
