"""Clusters of real processes on a repository with a real model."""

import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from PIL import Image

from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from services.training.data.digits import load_digits_dataset
from tests.cluster.running import RunningCluster, run

ImageRequest = Callable[..., recognition_pb2.RecognizeRequest]


@pytest.fixture(scope="session")
def digits() -> Dataset:
    """scikit-learn's digits; the model `digits` never saw the test part."""
    return load_digits_dataset()


@pytest.fixture(scope="session")
def digit_png(digits: Dataset) -> Callable[[int], bytes]:
    """The PNG file of a held-out digit, by its number."""

    def encode(number: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(digits.test_images[number][..., 0]).save(file, "PNG")
        return file.getvalue()

    return encode


@pytest.fixture(scope="session")
def digits_request(digit_png: Callable[[int], bytes]) -> ImageRequest:
    """A request with the first held-out digits; further fields by keyword."""

    def make(count: int = 1, **fields: Any) -> recognition_pb2.RecognizeRequest:
        images = [recognition_pb2.Image(content=digit_png(number)) for number in range(count)]
        given = {"model": recognition_pb2.ModelSelector(name="digits"), "images": images}
        return recognition_pb2.RecognizeRequest(**{**given, **fields})

    return make


@pytest.fixture(scope="session")
def make_plan(
    digits_repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., ClusterPlan]:
    """Plans of clusters on the digits model, each with a home of its own."""

    def make(
        models: Path | None = None,
        settings: Mapping[str, str] = MappingProxyType({}),
        **fields: Any,
    ) -> ClusterPlan:
        repository = str(models or digits_repository.root)
        return ClusterPlan(
            home=tmp_path_factory.mktemp("home"),
            port=0,
            settings={"FACET_MODELS": repository, **settings},
            **fields,
        )

    return make


@pytest.fixture(scope="session")
def cluster(make_plan: Callable[..., ClusterPlan]) -> Iterator[RunningCluster]:
    """One cluster for all tests that leave it as it was."""
    with run(make_plan()) as running:
        yield running
        assert not running.deaths, f"processes died: {running.deaths}"


@pytest.fixture(scope="module")
def own_cluster(make_plan: Callable[..., ClusterPlan]) -> Iterator[RunningCluster]:
    """A cluster for one module, whose tests do things to it; two of the stateless tiers."""
    instances = {"inference": 2, "preprocessing": 2, "aggregation": 2}
    with run(make_plan(instances=instances)) as running:
        yield running
