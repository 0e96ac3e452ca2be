"""A cluster whose model repository is on an S3 server."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from services.common.models.cache import FileCache
from services.common.models.repository import ModelRepository
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import RunningCluster, run
from tests.fixtures_s3 import S3Server
from tests.models.contents import copy_of


@pytest.fixture
def repository(s3_url: str, digits_repository: ModelRepository, tmp_path: Path) -> ModelRepository:
    """On the server, with `digits` version 1."""
    repository = ModelRepository.open(s3_url, FileCache(tmp_path / "publisher", 2**30))
    first = digits_repository.load_manifest("digits", 1)
    repository.publish("digits", copy_of(digits_repository, first))
    return repository


@pytest.fixture
def running(
    make_plan: Callable[..., ClusterPlan], repository: ModelRepository, s3_server: S3Server
) -> Iterator[RunningCluster]:
    """A cluster of two shards on it."""
    with run(make_plan(settings={**s3_server.environment, "FACET_MODELS": repository.url})) as it:
        yield it
        assert not it.deaths


def test_a_cluster_serves_from_s3_and_goes_on_without_it(
    running: RunningCluster,
    repository: ModelRepository,
    s3_server: S3Server,
    digits_request: ImageRequest,
) -> None:
    def version() -> int:
        response = running.recognition.Recognize(digits_request(4), timeout=30)
        assert all(result.HasField("classification") for result in response.results)
        return int(response.model.version)

    assert version() == 1
    manifest = repository.load_manifest("digits", 1)
    cached = {path.stem for path in (running.plan.home / "cache").iterdir()}
    assert manifest.golden is not None
    assert {manifest.golden.sha256} < cached  # of both shards: one copy
    assert len(cached) == 2
    s3_server.stop()
    try:
        assert version() == 1
    finally:
        s3_server.start()
    repository.publish("digits", copy_of(repository, manifest))

    def both_have_it(view: cluster_pb2.Cluster) -> bool:
        shards = [instance for instance in view.instances if instance.service == "inference"]
        return all(2 in [model.version for model in shard.models] for shard in shards)

    try:
        running.wait_for_view(both_have_it)
    except AssertionError as error:
        logs = [running.log(name) for name in ("inference-1", "inference-2")]
        pytest.fail("\n".join([str(error), *logs]))
    assert version() == 2
    # The same model under another number: only its examples were downloaded.
    again = {path.stem for path in (running.plan.home / "cache").iterdir()}
    golden = repository.load_manifest("digits", 2).golden
    assert golden is not None
    assert again == cached | {golden.sha256}
