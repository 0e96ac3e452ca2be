"""Stock SavedModels, added for real and run by the engines of a shard."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from services.common.errors import InvalidRequestError
from services.common.models.input_spec import InputSpec
from services.common.models.normalisation import Normalisation
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import load_version
from tests.training.adding import add_model
from tests.training.keras_models import any_size, colour_net, row_reader
from tests.training.saved_models import CLASSES, PICTURES, SIDE, Net, export, save

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NONE = Normalisation.preset("none")
CAFFE = Normalisation.preset("caffe")


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


def pictures(*shape: int) -> Any:
    return np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)


def run(repository: ModelRepository, name: str, engine: str, images: Any) -> Any:
    """Return the scores of a shard's engine, which checks the golden examples first."""
    loaded = load_version(repository, name, 1, batch_sizes=[1, 2], preference=engine)
    try:
        return loaded.engine.run(images)
    finally:
        loaded.engine.close()


def test_a_module_with_a_signature(repository: ModelRepository, tmp_path: Path) -> None:
    net = Net()
    folder = save(net, tmp_path / "net", classify=lambda pictures: {"shares": net.scores(pictures)})
    manifest = add_model(repository, "net", folder, normalisation=CAFFE)
    assert [artefact.format for artefact in manifest.artefacts] == ["litert", "saved_model"]
    assert manifest.input == InputSpec(SIDE, SIDE, 3)
    assert (manifest.outputs.classes, manifest.outputs.activation) == (CLASSES, "softmax")
    assert manifest.metrics["litert_difference"] <= 1e-4
    assert manifest.source == "net"
    # The engines need nothing of the folder that it came from.
    shutil.rmtree(folder)
    images = pictures(5, SIDE, SIDE, 3)
    expected = np.asarray(net.scores(CAFFE.apply(images)))
    for engine in ("litert", "tensorflow"):
        np.testing.assert_allclose(run(repository, "net", engine, images), expected, atol=1e-4)


def test_what_keras_exports(repository: ModelRepository, tmp_path: Path) -> None:
    model = keras.Sequential(
        [keras.Input((12, 10, 3)), keras.layers.Rescaling(1 / 127.5, -1.0), colour_net()]
    )
    told: list[str] = []
    folder = export(model, tmp_path / "colour")
    manifest = add_model(repository, "colour", folder, notice=told.append)
    assert (
        told[0] == "preprocessing none: the model itself brings pixels of 0 to 255 into its range"
    )
    assert manifest.preprocessing == NONE
    images = pictures(3, 12, 10, 3)
    expected = np.asarray(model(images.astype(np.float32), training=False))
    for engine in ("litert", "tensorflow"):
        np.testing.assert_allclose(run(repository, "colour", engine, images), expected, atol=1e-4)


def test_what_does_not_convert_is_kept_for_tensorflow(
    repository: ModelRepository, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model, told = row_reader(), list[str]()
    folder = export(model, tmp_path / "rows")
    manifest = add_model(
        repository,
        "rows",
        folder,
        normalisation=Normalisation.custom((0.0,), 1 / 255),
        notice=told.append,
    )
    assert [artefact.format for artefact in manifest.artefacts] == ["saved_model"]
    assert told[0].startswith("kept in its own form alone, as it does not convert to LiteRT: ")
    assert capfd.readouterr().err == ""
    images = pictures(3, 8, 8, 1)
    expected = np.asarray(model(images / np.float32(255), training=False))
    np.testing.assert_allclose(run(repository, "rows", "auto", images), expected, atol=1e-4)


def test_pictures_of_any_size_and_uint8(repository: ModelRepository, tmp_path: Path) -> None:
    folder = export(any_size(), tmp_path / "any")
    with pytest.raises(InvalidRequestError, match="choose one with --crop"):
        add_model(repository, "any", folder, normalisation=NONE)
    with pytest.raises(InvalidRequestError, match="say it with --preprocessing") as raised:
        add_model(repository, "any", folder, crop=16)
    assert raised.value.reason == "UNKNOWN_PREPROCESSING"
    manifest = add_model(repository, "any", folder, normalisation=NONE, crop=16)
    assert manifest.input == InputSpec(16, 16, 3, resize_shorter_side=16)
    raw = tf.TensorSpec((None, SIDE, SIDE, 3), tf.uint8)
    net = Net()
    folder = save(
        net,
        tmp_path / "raw",
        raw,
        serving_default=lambda images: {"scores": net.scores(tf.cast(images, tf.float32) / 255)},
    )
    assert add_model(repository, "raw", folder).preprocessing == NONE
    with pytest.raises(InvalidRequestError, match="must be 'none'"):
        add_model(repository, "raw", folder, normalisation=CAFFE)


def test_signature_and_output_are_chosen(repository: ModelRepository, tmp_path: Path) -> None:
    net = Net()

    def both(pictures: Any) -> dict[str, Any]:
        return {"shares": net.scores(pictures), "raw": net.scores(pictures)[:, :2] * 3}

    def one(pictures: Any) -> dict[str, Any]:
        return {"shares": net.scores(pictures)}

    folder = save(net, tmp_path / "net", both=both, one=one)

    def add(**choices: Any) -> int:
        manifest = add_model(repository, "net", folder, normalisation=NONE, **choices)
        return manifest.outputs.classes

    with pytest.raises(InvalidRequestError, match="the signatures both, one: choose one"):
        add()
    with pytest.raises(InvalidRequestError, match="no signature 'two', but both, one"):
        add(signature="two")
    with pytest.raises(InvalidRequestError, match="has 2 outputs, raw, shares: choose one"):
        add(signature="both")
    with pytest.raises(InvalidRequestError, match="no output 'x', but raw, shares"):
        add(signature="both", output="x")
    assert repository.list_models() == ()
    assert add(signature="both", output="raw") == 2


@pytest.mark.parametrize(
    ("function", "specs", "says"),
    [
        (lambda a, b: {"y": tf.reshape(a + b, [-1, 192])}, (PICTURES, PICTURES), "has 2 inputs"),
        (lambda a: {"y": a * 2}, (), r"output must be \(None, classes\)"),
        (
            lambda a: {"y": tf.reshape(a, [-1, 192])},
            (tf.TensorSpec((None, 3, 8, 8), tf.float32),),
            "the channels come first",
        ),
        (
            lambda a: {"y": tf.strings.to_number(a)[:, tf.newaxis]},
            (tf.TensorSpec((None,), tf.string),),
            "must be a batch of pictures",
        ),
        (
            lambda a: {"y": tf.reshape(a, [1, 192])},
            (tf.TensorSpec((1, 8, 8, 3), tf.float32),),
            "must be a batch of pictures",
        ),
        (lambda a: {"y": tf.argmax(tf.reshape(a, [-1, 8, 24]), 1)}, (), "not int64"),
    ],
)
def test_what_recognises_no_pictures_is_refused(
    repository: ModelRepository,
    tmp_path: Path,
    function: Callable[..., dict[str, Any]],
    specs: tuple[Any, ...],
    says: str,
) -> None:
    folder = save(tf.Module(), tmp_path / "net", *specs, serving_default=function)
    with pytest.raises(InvalidRequestError, match=says) as raised:
        add_model(repository, "net", folder, normalisation=NONE)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert repository.list_models() == ()


def _reads(_: Path) -> Callable[[Any], Any]:
    return lambda a: tf.strings.length(tf.io.read_file("/etc/hostname"))


def _writes(marker: Path) -> Callable[[Any], Any]:
    def write(_: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(marker), "here")]):
            return tf.constant(1)

    return write


def _prints(marker: Path) -> Callable[[Any], Any]:
    def write(_: Any) -> Any:
        printed = tf.print("here", output_stream=f"file://{marker}")
        with tf.control_dependencies([printed]):
            return tf.constant(1)

    return write


def _python(marker: Path) -> Callable[[Any], Any]:
    def touch() -> Any:
        marker.touch()
        return np.int32(1)

    return lambda a: tf.numpy_function(touch, [], tf.int32)


def _branches(marker: Path) -> Callable[[Any], Any]:
    write = _writes(marker)
    return lambda a: tf.cond(tf.reduce_sum(a) > 0, lambda: write(a), lambda: tf.constant(2))


def _checkpoints(marker: Path) -> Callable[[Any], Any]:
    def write(_: Any) -> Any:
        saved = tf.raw_ops.SaveV2(
            prefix=str(marker), tensor_names=["a"], shape_and_slices=[""], tensors=[tf.ones(1)]
        )
        with tf.control_dependencies([saved]):
            return tf.constant(1)

    return write


@pytest.mark.parametrize(
    ("make", "op"),
    [
        (_reads, "ReadFile"),
        (_writes, "WriteFile"),
        (_prints, "PrintV2"),
        (_python, "PyFunc"),
        (_branches, "WriteFile"),
        (_checkpoints, "SaveV2"),
    ],
)
def test_a_graph_that_reaches_beyond_the_model_is_never_run(
    repository: ModelRepository,
    tmp_path: Path,
    make: Callable[[Path], Callable[[Any], Any]],
    op: str,
) -> None:
    marker = tmp_path / "marker"
    net, act = Net(), make(marker)

    def hostile(pictures: Any) -> dict[str, Any]:
        extra = tf.cast(act(pictures), tf.float32)
        return {"scores": net.scores(pictures) + 0 * extra}

    folder = save(net, tmp_path / "net", serving_default=hostile)
    with pytest.raises(InvalidRequestError, match=f"holds the op {op}, which can") as raised:
        add_model(repository, "net", folder, normalisation=NONE)
    assert raised.value.reason == "UNSUPPORTED_MODEL"
    assert not list(tmp_path.glob("marker*"))
    assert repository.list_models() == ()


def test_a_torn_saved_model_is_refused(repository: ModelRepository, tmp_path: Path) -> None:
    net = Net()
    folder = save(net, tmp_path / "net", serving_default=lambda a: {"y": net.scores(a)})
    graph = (folder / "saved_model.pb").read_bytes()
    weights = folder / "variables" / "variables.data-00000-of-00001"
    for path, content, says in (
        (folder / "saved_model.pb", graph[: len(graph) // 2], "torn SavedModel"),
        (folder / "saved_model.pb", b"", "without a graph"),
        (weights, weights.read_bytes()[:100], "TensorFlow cannot load"),
    ):
        whole = path.read_bytes()
        path.write_bytes(content)
        with pytest.raises(InvalidRequestError, match=says) as raised:
            add_model(repository, "net", folder, normalisation=NONE)
        assert raised.value.reason == "UNSUPPORTED_MODEL"
        path.write_bytes(whole)
    assert repository.list_models() == ()
