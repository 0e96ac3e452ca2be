"""What the JAX engine does beside what all do; `test_jax` runs it where TensorFlow is hidden."""

import gc
import os
import sys
from collections.abc import Iterator

import jax
import pytest

from services.common.models.repository import ModelRepository
from services.inference.engines.jax import JaxEngine
from services.inference.engines.loading import LoadedVersion, load_version
from services.training.data.digits import load_digits_dataset
from tests.fixtures_models import digits_repository  # noqa: F401


def load(repository: ModelRepository) -> LoadedVersion:
    """The digits on JAX."""
    return load_version(repository, "digits", 1, batch_sizes=[1, 2, 4], preference="jax")


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed but what nobody refers to."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def bytes_on_the_device() -> int:
    """Bytes of all arrays that live."""
    return sum(array.nbytes for array in jax.live_arrays())


def test_jax_is_set_up_and_tensorflow_is_not_there(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    load(digits_repository).engine.close()
    assert os.environ["KERAS_BACKEND"] == "jax"
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert os.environ["NPROC"] == "1"
    assert "tensorflow" not in sys.modules


def test_each_warmed_size_is_compiled_once(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    engine = load(digits_repository).engine
    assert isinstance(engine, JaxEngine)
    programs = dict(engine._programs)
    assert {1, 2} <= programs.keys() <= {1, 2, 4}
    images = load_digits_dataset().test_images
    for number in range(1, 10):
        engine.run(images[:number])
    assert engine._programs == programs
    engine.close()


@pytest.mark.usefixtures("no_collector")
def test_a_closed_version_leaves_the_device(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    before = bytes_on_the_device()
    version = load(digits_repository)
    assert bytes_on_the_device() > before
    version.engine.close()
    assert bytes_on_the_device() == before


@pytest.mark.usefixtures("no_collector")
def test_a_version_that_is_dropped_leaves_the_device(
    digits_repository: ModelRepository,  # noqa: F811
) -> None:
    before = bytes_on_the_device()
    version = load(digits_repository)
    assert bytes_on_the_device() > before
    del version
    assert bytes_on_the_device() == before
