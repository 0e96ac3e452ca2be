"""Real versions in a real repository, run by an engine of numpy alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.inference.engines.batch_plan import BatchPlan
from services.inference.engines.loading import LoadedVersion
from services.inference.host import ModelHost
from services.inference.loaded_model import LoadedModel
from tests.fakes import NumpyEngine
from tests.models.contents import CLASSES, SPEC, write_content

MODEL: Final = ModelKey("sums", 1)
MAX_BATCH: Final = 16


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with the model."""
    return repository_in(tmp_path)


def repository_in(folder: Path, *names: str) -> ModelRepository:
    """A repository with a first version of each of these models."""
    repository = ModelRepository(folder / "models")
    for name in names or (MODEL.name,):
        repository.publish(name, write_content)
    return repository


def load(
    repository: ModelRepository, key: ModelKey, _serving: bool = False, /, **described: float
) -> LoadedModel:
    """Load a version; what `ModelHost` asks for once the repository is bound.

    `described` are fields of the descriptor, true or not: what a piece or an image costs.
    """
    manifest = repository.load_manifest(key.name, key.version)
    engine = NumpyEngine(manifest)
    plan = BatchPlan({1: 0.0}, exact=True)
    descriptor = manifest.to_descriptor(max_batch=MAX_BATCH, engine=engine.name)
    for field, value in described.items():
        setattr(descriptor, field, value)
    return LoadedModel(
        key, LoadedVersion(manifest, engine, plan, 0.0, memory_bytes=1 << 20), descriptor
    )


def host_of(
    repository: ModelRepository,
    load_one: Callable[[ModelKey, bool], LoadedModel],
    on_change: Callable[[], None] = lambda: None,
    *,
    shard: str = "shard",
    keep_versions: int = 2,
    budget_bytes: int = 1 << 30,
) -> ModelHost:
    """A host that has not looked at its repository yet."""
    return ModelHost(
        repository,
        load_one,
        on_change,
        shard=shard,
        keep_versions=keep_versions,
        max_batch=MAX_BATCH,
        budget_bytes=budget_bytes,
    )


def engine_of(model: LoadedModel) -> NumpyEngine:
    """The engine of a model that `load` loaded."""
    engine = model.version.engine
    assert isinstance(engine, NumpyEngine)
    return engine


def pictures(*values: int) -> npt.NDArray[np.uint8]:
    """Pictures for the model, each of one value throughout."""
    images = np.empty((len(values), *SPEC.shape), np.uint8)
    images[:] = np.array(values, np.uint8)[:, None, None, None]
    return images


def scores_of(*values: int) -> npt.NDArray[np.float32]:
    """What the model makes of these pictures."""
    sums = np.array(values, np.float32)[:, None] * SPEC.nbytes
    return np.asarray(sums + np.arange(CLASSES), np.float32)
