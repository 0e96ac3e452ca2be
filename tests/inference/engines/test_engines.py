"""Every engine that runs here, on a model that was trained and converted for real.

`test_jax` runs this in a process without TensorFlow, where JAX takes its place.
"""

import threading
import time
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from services.common.errors import InternalError, InvalidRequestError
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import LoadedVersion, load_version
from services.training.data.dataset import Dataset
from services.training.data.digits import load_digits_dataset
from tests.fixtures_models import digits_repository  # noqa: F401
from tests.inference.engines.here import ENGINES_HERE

SIZES = (1, 2, 4, 8, 16, 32)
TIMEOUT_S = 60.0


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_digits_dataset()


@pytest.fixture(scope="module", params=ENGINES_HERE)
def loaded(
    request: pytest.FixtureRequest,
    digits_repository: ModelRepository,  # noqa: F811
) -> Iterator[LoadedVersion]:
    version = load_version(
        digits_repository, "digits", 1, batch_sizes=SIZES, preference=request.param
    )
    yield version
    version.engine.close()


def test_it_is_the_engine_that_was_asked_for(
    loaded: LoadedVersion, request: pytest.FixtureRequest
) -> None:
    assert loaded.engine.name in request.node.name
    assert loaded.golden_difference < 1e-4


def test_held_out_digits_are_recognised(loaded: LoadedVersion, digits: Dataset) -> None:
    scores = loaded.engine.run(digits.test_images)
    assert scores.shape == (len(digits.test_labels), 10)
    accuracy = float((scores.argmax(axis=1) == digits.test_labels).mean())
    assert accuracy >= 0.95
    assert accuracy == pytest.approx(loaded.manifest.metrics["held_out_accuracy"], abs=0.005)


@pytest.mark.parametrize("images", [0, 1, 3, 31, 32, 33, 70])
def test_any_number_of_images_gives_each_its_own_scores(
    loaded: LoadedVersion, digits: Dataset, images: int
) -> None:
    batch = digits.test_images[:images]
    scores = loaded.engine.run(batch)
    assert scores.shape == (images, 10)
    assert scores.dtype == np.float32
    for index in range(images):
        alone = loaded.engine.run(batch[index : index + 1])
        np.testing.assert_allclose(scores[index], alone[0], atol=1e-5)


def test_scores_stay_when_the_next_batch_runs(loaded: LoadedVersion, digits: Dataset) -> None:
    first = loaded.engine.run(digits.test_images[:4])
    kept = first.copy()
    loaded.engine.run(digits.test_images[4:8])
    np.testing.assert_array_equal(first, kept)


def test_views_are_taken(loaded: LoadedVersion, digits: Dataset) -> None:
    strided = digits.test_images[:20:2, ::-1, ::-1]
    packed = np.ascontiguousarray(strided)
    packed.setflags(write=False)
    np.testing.assert_array_equal(loaded.engine.run(strided), loaded.engine.run(packed))


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (np.zeros((1, 28, 28, 1), np.float32), "WRONG_DTYPE"),
        (np.zeros((1, 28, 27, 1), np.uint8), "WRONG_SHAPE"),
        (np.zeros((28, 28, 1), np.uint8), "WRONG_SHAPE"),
        (np.zeros((1, 28, 28, 3), np.uint8), "WRONG_SHAPE"),
    ],
)
def test_other_arrays_are_refused(
    loaded: LoadedVersion, images: npt.NDArray[np.uint8], reason: str
) -> None:
    with pytest.raises(InvalidRequestError) as raised:
        loaded.engine.run(images)
    assert raised.value.reason == reason


def test_other_threads_go_on_while_it_runs(loaded: LoadedVersion) -> None:
    images = np.zeros((2000, 28, 28, 1), np.uint8)
    loaded.engine._predict(images)  # what comes with the first run of a size is not meant
    running, give_up = threading.Event(), time.monotonic() + TIMEOUT_S
    spans: list[tuple[float, float]] = []

    def run() -> None:
        while time.monotonic() < give_up and not running.is_set():
            started = time.monotonic()
            loaded.engine._predict(images)
            spans.append((started, time.monotonic()))

    thread = threading.Thread(target=run)
    thread.start()
    moments = []
    while thread.is_alive():
        moments.append(time.monotonic())
        # Seen here while one single call into the engine was going on.
        if any(start < moment < end for start, end in spans[-1:] for moment in moments[-50:]):
            running.set()
        time.sleep(0)
    thread.join()
    assert running.is_set()


def test_both_engines_agree(
    digits_repository: ModelRepository,  # noqa: F811
    digits: Dataset,
) -> None:
    scores = []
    for engine in ENGINES_HERE:
        version = load_version(
            digits_repository, "digits", 1, batch_sizes=SIZES, preference=engine, threads=2
        )
        scores.append(version.engine.run(digits.test_images))
        version.engine.close()
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-4)
    np.testing.assert_array_equal(scores[0].argmax(axis=1), scores[1].argmax(axis=1))


@pytest.mark.parametrize("engine", ENGINES_HERE)
def test_a_closed_engine_runs_nothing(
    digits_repository: ModelRepository,  # noqa: F811
    engine: str,
) -> None:
    version = load_version(digits_repository, "digits", 1, batch_sizes=[1], preference=engine)
    version.engine.close()
    version.engine.close()
    with pytest.raises(InternalError, match="closed") as raised:
        version.engine.run(np.zeros((1, 28, 28, 1), np.uint8))
    assert raised.value.reason == "MODEL_FAILED"
