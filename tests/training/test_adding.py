"""Models that were trained elsewhere, added for real."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.input_spec import InputSpec
from services.common.models.litert import LiteRtModel
from services.common.models.manifest import Manifest
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.training.intake.keras_files import KerasSource
from tests.training.adding import add_model
from tests.training.keras_models import any_size, colour_net, row_reader, save, save_hdf5

# Keras hands its variables to numpy in a way that numpy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NONE = Normalisation.preset("none")
LABELS = ("a", "b", "c", "d")


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


def scores(repository: ModelRepository, manifest: Manifest, images: Any) -> dict[str, Any]:
    """Return what each artefact of a version says of some pictures."""
    fused = keras.saving.load_model(repository.artefact_path(manifest, "keras"))
    with LiteRtModel(repository.artefact_path(manifest, "litert"), threads=1) as converted:
        return {"keras": np.asarray(fused(images)), "litert": converted.predict(images)}


@pytest.mark.parametrize(
    "normalisation",
    [
        *map(Normalisation.preset, ("tf", "torch", "caffe", "none")),
        Normalisation.custom((123.0, 117.0, 104.0), 0.5),
    ],
    ids=lambda normalisation: normalisation.mode,
)
def test_normalising_is_part_of_both_graphs(
    repository: ModelRepository, tmp_path: Path, normalisation: Normalisation
) -> None:
    model = colour_net()
    manifest = add_model(
        repository, "colour", save(model, tmp_path), labels=LABELS, normalisation=normalisation
    )
    images = np.random.default_rng(0).integers(0, 256, (5, 12, 10, 3), dtype=np.uint8)
    expected = np.asarray(model(normalisation.apply(images), training=False))
    for found in scores(repository, manifest, images).values():
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert repository.load_manifest("colour", 1) == manifest
    assert manifest.preprocessing == normalisation


def test_what_was_added_is_described(repository: ModelRepository, tmp_path: Path) -> None:
    real = np.random.default_rng(9).integers(0, 256, (2, 12, 10, 3), dtype=np.uint8)
    told: list[str] = []
    manifest = add_model(
        repository,
        "colour",
        save(colour_net(), tmp_path),
        normalisation=Normalisation.preset("tf"),
        resize=20,
        real_images=real,
        tell=told.append,
    )
    assert manifest.source == "model.keras"
    assert manifest.input == InputSpec(12, 10, 3, resize_shorter_side=20)
    assert manifest.labels == ("0", "1", "2", "3")
    assert [artefact.format for artefact in manifest.artefacts] == ["litert", "keras"]
    assert manifest.outputs.activation == "softmax"
    np.testing.assert_array_equal(repository.golden_examples(manifest).images[:2], real)
    assert told == [
        "loading TensorFlow",
        "saving the model",
        "converting to LiteRT",
        "published colour:1",
    ]


@pytest.mark.parametrize(
    ("activation", "seen"), [(None, "linear"), ("sigmoid", "sigmoid"), ("softmax", "softmax")]
)
def test_the_kind_of_scores_is_seen(
    repository: ModelRepository, tmp_path: Path, activation: str | None, seen: str
) -> None:
    path = save(colour_net(activation), tmp_path)
    assert add_model(repository, "m", path, normalisation=NONE).outputs.activation == seen


def test_half_precision_ends_in_float32(repository: ModelRepository, tmp_path: Path) -> None:
    path = save(colour_net(dtype="float16"), tmp_path)
    manifest = add_model(repository, "half", path, normalisation=Normalisation.preset("tf"))
    assert repository.golden_examples(manifest).scores.dtype == np.float32


def test_a_recurrent_model_is_kept_for_keras(
    repository: ModelRepository, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    path = save(row_reader(), tmp_path)
    manifest = add_model(
        repository,
        "rows",
        path,
        normalisation=Normalisation.custom((0.0,), 1 / 255),
        notice=told.append,
    )
    assert [artefact.format for artefact in manifest.artefacts] == ["keras"]
    assert not (repository.root / "rows" / "1" / "model.tflite").exists()
    (line,) = told
    assert line.startswith("kept in its own form alone, as it does not convert to LiteRT: ")
    # The converter's own complaints stay off the terminal.
    assert capfd.readouterr() == ("", "")


def test_what_facet_saved_can_be_added_again(repository: ModelRepository, tmp_path: Path) -> None:
    first = add_model(
        repository, "colour", save(colour_net(), tmp_path), normalisation=Normalisation.preset("tf")
    )
    fused = repository.artefact_path(first, "keras")
    second = add_model(repository, "colour", fused, normalisation=NONE)
    images = repository.golden_examples(first).images
    found = scores(repository, second, images)["litert"]
    np.testing.assert_allclose(found, repository.golden_examples(first).scores, atol=1e-5)
    with pytest.raises(InvalidRequestError, match="must be 'none'"):
        add_model(repository, "colour", fused, normalisation=Normalisation.preset("tf"))


def _two_inputs() -> Any:
    left, right = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    return keras.Model([left, right], keras.layers.Flatten()(left + right))


def _two_outputs() -> Any:
    images = keras.Input((8, 8, 1))
    flat = keras.layers.Flatten()(images)
    return keras.Model(images, [flat, keras.layers.Dense(2)(flat)])


def _layers(shape: tuple[int | None, ...], *layers: Any) -> Callable[[], Any]:
    return lambda: keras.Sequential([keras.Input(shape), *layers])


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (_two_inputs, "has 2 inputs"),
        (_two_outputs, "has 2 outputs"),
        (_layers((3, 32, 30), keras.layers.Flatten()), "the channels come first"),
        (_layers((9,), keras.layers.Dense(2)), r"not \(None, 9\)"),
        (_layers((8, 8, 4), keras.layers.Flatten()), "1 or 3 channels"),
        (_layers((8, 8, 1), keras.layers.Conv2D(2, 3)), r"output must be \(None, classes\)"),
        (
            _layers((8, 8, 1), keras.layers.Flatten(), keras.layers.Lambda(lambda x: x * 2)),
            "code of its own",
        ),
    ],
)
def test_models_that_recognise_no_pictures_are_refused(
    repository: ModelRepository, tmp_path: Path, build: Callable[[], Any], says: str
) -> None:
    with pytest.raises(InvalidRequestError, match=says) as raised:
        add_model(repository, "m", save(build(), tmp_path), normalisation=NONE)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert repository.list_models() == ()


def test_the_older_hdf5_format_is_taken(repository: ModelRepository, tmp_path: Path) -> None:
    model, path = colour_net(), tmp_path / "colour.h5"
    save_hdf5(model, path)
    manifest = add_model(repository, "colour", path, normalisation=NONE)
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), dtype=np.uint8)
    expected = np.asarray(model(images.astype(np.float32), training=False))
    for found in scores(repository, manifest, images).values():
        np.testing.assert_allclose(found, expected, atol=1e-4)
    with_code = _layers((8, 8, 1), keras.layers.Lambda(lambda x: x * 2), keras.layers.Flatten())
    save_hdf5(with_code(), path)
    with pytest.raises(InvalidRequestError, match="code of its own") as raised:
        add_model(repository, "m", path, normalisation=NONE)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert repository.list_models() == ("colour",)


def test_what_is_not_said_is_worked_out_or_asked_for(
    repository: ModelRepository, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequestError, match="say it with --preprocessing") as raised:
        add_model(repository, "m", save(colour_net(), tmp_path))
    assert raised.value.reason == "UNKNOWN_PREPROCESSING"
    assert repository.list_models() == ()
    told: list[str] = []
    own = _layers((8, 8, 3), keras.layers.Rescaling(1 / 255), keras.layers.Flatten())
    manifest = add_model(repository, "m", save(own(), tmp_path), notice=told.append)
    assert manifest.preprocessing == NONE
    assert told[0].startswith("preprocessing none: the model itself brings pixels")


def test_the_photographs_models_show_what_they_want(test_data: Path) -> None:
    models = test_data / "models"
    modes = {}
    for model in json.loads((models / "models.json").read_text()):
        assumed = KerasSource(models / model["file"]).assumed()
        modes[model["preprocess"]["formula"]] = assumed and str(assumed.normalisation)
    # SqueezeNet is no architecture of Keras's, and nothing in it tells what it wants.
    assert modes == {
        "x/127.5 - 1": "tf",
        "x - [123,117,104] (range 0..255, no scaling)": None,
    }


def test_a_model_with_classes_of_its_own_is_refused(
    repository: ModelRepository, tmp_path: Path
) -> None:
    class Doubler(keras.layers.Layer):
        def call(self, values: Any) -> Any:
            return values * 2

    path = save(_layers((8, 8, 1), keras.layers.Flatten(), Doubler())(), tmp_path)
    with pytest.raises(InvalidRequestError, match="not part of Keras") as raised:
        add_model(repository, "m", path, normalisation=NONE)
    assert raised.value.reason == "UNSUPPORTED_MODEL"


def test_a_model_whose_scores_are_not_numbers_is_refused(
    repository: ModelRepository, tmp_path: Path
) -> None:
    model = colour_net()
    model.layers[-1].bias.assign([float("nan")] * 4)
    with pytest.raises(ModelRefusedError, match="finite"):
        add_model(repository, "m", save(model, tmp_path), normalisation=NONE)
    assert repository.list_models() == ()


def test_options_that_do_not_fit_are_refused(repository: ModelRepository, tmp_path: Path) -> None:
    path = save(colour_net(), tmp_path)

    def add(**options: Any) -> Manifest:
        return add_model(repository, "m", path, **{"normalisation": NONE} | options)

    with pytest.raises(InvalidRequestError, match="2 labels for a model with 4 classes"):
        add(labels=["a", "b"])
    with pytest.raises(InvalidRequestError, match="--signature is for a SavedModel"):
        add(signature="serving_default")
    with pytest.raises(InvalidRequestError, match="--output is for"):
        add(output="scores")
    with pytest.raises(
        InvalidRequestError, match="must give the model's input, 12 x 10, not 12 x 12"
    ):
        add(resize=16, crop=12)
    with pytest.raises(InvalidRequestError, match="resize must be 0 or 12 to 4096"):
        add(resize=11)
    with pytest.raises(InvalidRequestError, match="name must be"):
        add_model(repository, "Bad Name", path, normalisation=NONE)
    grey = save(row_reader(), tmp_path)
    with pytest.raises(InvalidRequestError, match="for RGB pictures"):
        add_model(repository, "m", grey, normalisation=Normalisation.preset("caffe"))
    assert repository.list_models() == ()


def test_a_model_for_any_size_takes_the_crop(repository: ModelRepository, tmp_path: Path) -> None:
    path = save(any_size(), tmp_path)
    with pytest.raises(InvalidRequestError, match="choose one with --crop"):
        add_model(repository, "m", path, normalisation=NONE)
    manifest = add_model(repository, "m", path, normalisation=NONE, crop=16)
    assert manifest.input == InputSpec(16, 16, 3, resize_shorter_side=16)
