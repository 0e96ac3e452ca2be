"""Versions come and go under load, on real processes: nothing is lost, bad ones stay out."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.key import ModelKey
from services.common.models.manifest import VersionContent
from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from tests.cluster.commands import facet_here, says
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import load
from tests.cluster.running import RunningCluster, run
from tests.models.contents import copy_of
from tests.reasons import reason_of_call

IMAGES = 6


@pytest.fixture(scope="module")
def models(
    digits_repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory
) -> ModelRepository:
    """A repository of this module's own."""
    root = tmp_path_factory.mktemp("versions") / "models"
    shutil.copytree(digits_repository.root, root)
    return ModelRepository(root)


@pytest.fixture(scope="module")
def cluster(
    make_plan: Callable[..., ClusterPlan], models: ModelRepository
) -> Iterator[RunningCluster]:
    """A cluster on it; nothing in these tests may kill one of its processes."""
    with run(make_plan(models=models.root)) as running:
        yield running
        assert not running.deaths


def publish(models: ModelRepository) -> int:
    """Publish the first version once more."""
    return models.publish("digits", copy_of(models, models.load_manifest("digits", 1))).version


def promote(models: ModelRepository, version: int) -> None:
    """As `facet models promote` does."""
    done = facet_here("models", "promote", f"digits:{version}", "--models", str(models.root))
    assert done.returncode == 0, done.stderr


def version_of(cluster: RunningCluster, **selector: object) -> int:
    """Which version a name leads to."""
    request = recognition_pb2.GetModelRequest(
        model=recognition_pb2.ModelSelector(name="digits", **selector)  # type: ignore[arg-type]
    )
    return int(cluster.recognition.GetModel(request, timeout=10).model.model.version)


def has(cluster: RunningCluster, *versions: int) -> Callable[[cluster_pb2.Cluster], bool]:
    """All shards have loaded these versions of the digits."""

    def holds(view: cluster_pb2.Cluster) -> bool:
        shards = [each for each in view.instances if each.service == "inference"]
        return all(set(versions) <= {model.version for model in shard.models} for shard in shards)

    return holds


def wait_for_version(cluster: RunningCluster, version: int, **selector: object) -> None:
    """Wait until a name leads to a version; the view changes when it does, or a little before."""

    def leads(_: cluster_pb2.Cluster) -> bool:
        return version_of(cluster, **selector) == version

    cluster.wait_for_view(leads)


def test_a_roll_out_and_a_rollback_lose_nothing(
    cluster: RunningCluster,
    models: ModelRepository,
    digits_request: ImageRequest,
    digits: Dataset,
) -> None:
    promote(models, 1)
    expected = [
        result.classification.classes[0].label
        for result in cluster.recognition.Recognize(digits_request(IMAGES), timeout=30).results
    ]
    with load(cluster, digits_request(IMAGES), expected) as running:
        second = publish(models)
        cluster.wait_for_view(has(cluster, 1, second))
        assert version_of(cluster) == 1  # published, and not promoted
        assert version_of(cluster, version=second) == second
        promote(models, second)
        wait_for_version(cluster, second)
        running.wait_for(20)
        labelled = facet_here("models", "label", "digits:1", "stable", "--models", str(models.root))
        assert labelled.returncode == 0
        done = facet_here("models", "rollback", "digits", "--models", str(models.root))
        assert says(done, f"digits:{second} → digits:1"), done.stderr
        wait_for_version(cluster, 1)
        running.wait_for(20)
    assert version_of(cluster, label="stable") == 1


def test_a_bad_version_stays_out_and_says_why(
    cluster: RunningCluster, models: ModelRepository, digits_request: ImageRequest
) -> None:
    good = models.load_manifest("digits", 1)

    def build(folder: Path) -> VersionContent:
        content = copy_of(models, good)(folder)
        golden = models.golden_examples(good)
        golden.scores[0] += 0.5
        return content.model_copy(update={"golden": golden.save(folder)})

    bad = models.publish("digits", build).version
    before = version_of(cluster)
    promote(models, bad)

    def refused_everywhere(view: cluster_pb2.Cluster) -> bool:
        shards = [each for each in view.instances if each.service == "inference"]
        return len(shards) == 2 and all(
            any(ModelKey.from_message(each.model) == ("digits", bad) for each in shard.refused)
            for shard in shards
        )

    cluster.wait_for_view(refused_everywhere)
    assert version_of(cluster) == before
    with pytest.raises(grpc.RpcError) as raised:
        cluster.recognition.Recognize(
            digits_request(model=recognition_pb2.ModelSelector(name="digits", version=bad)),
            timeout=10,
        )
    assert reason_of_call(raised.value) == "MODEL_REFUSED"
    assert "differ from the golden examples by up to 0.5" in (raised.value.details() or "")
    status = facet_here("status", "--gateway", cluster.gateway)
    assert says(status, f"refused digits:{bad}", "differ from the golden examples")
    arguments = ("models", "show", f"digits:{bad}", "--models", str(models.root))
    shown = facet_here(*arguments, "--gateway", cluster.gateway)
    assert "differ from the golden examples" in " ".join(shown.stdout.split())
    told = json.loads(facet_here(*arguments, "--gateway", cluster.gateway, "--json").stdout)
    assert [shard[:11] for shard in sorted(told["refused"])] == ["inference-1", "inference-2"]
    promote(models, 1)


def test_a_retired_version_answers_no_more(
    cluster: RunningCluster, models: ModelRepository, digits_request: ImageRequest
) -> None:
    version = publish(models)
    cluster.wait_for_view(has(cluster, version))
    assert version_of(cluster, version=version) == version
    done = facet_here("models", "retire", f"digits:{version}", "--models", str(models.root))
    assert done.returncode == 0, done.stderr
    cluster.wait_for_view(lambda view: not has(cluster, version)(view))
    with pytest.raises(grpc.RpcError) as raised:
        version_of(cluster, version=version)
    assert "is retired" in (raised.value.details() or "")
