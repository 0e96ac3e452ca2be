"""Photographs, recognised by a stock Keras model that was added to the repository."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.repository import ModelRepository
from tests.cluster.commands import facet_here
from tests.cluster.running import RunningCluster, run

PUBLISHED_TOP_1 = 0.895
"""Of models.json, for mobilenet_v2_100_224_ptq on imagenet_train_sample."""


@pytest.fixture(scope="module")
def photo_cluster(
    make_plan: Callable[..., ClusterPlan], photo_repository: ModelRepository
) -> Iterator[RunningCluster]:
    """A cluster that serves MobileNetV2."""
    with run(make_plan(models=photo_repository.root)) as running:
        yield running
        assert not running.deaths


def test_labelled_photographs(photo_cluster: RunningCluster, test_data: Path) -> None:
    folder = test_data / "images" / "imagenet_train_sample"
    done = facet_here(
        *("classify", str(folder), "--json", "--top-k", "5"),
        *("--model", "mobilenet", "--gateway", photo_cluster.gateway),
    )
    assert done.returncode == 0, done.stderr
    answers = {Path(line["image"]).name: line for line in map(json.loads, done.stdout.splitlines())}
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as rows:
        truth = {row["file"]: row["label"] for row in csv.DictReader(rows)}
    assert answers.keys() == truth.keys()
    right = [answers[file]["classes"][0]["label"] == label for file, label in truth.items()]
    assert abs(sum(right) / len(right) - PUBLISHED_TOP_1) <= 0.03


def test_photographs_of_other_kinds(photo_cluster: RunningCluster, test_data: Path) -> None:
    folder = test_data / "images" / "coral_photos"
    done = facet_here(
        *("classify", str(folder), "--json", "--model", "mobilenet:1"),
        *("--gateway", photo_cluster.gateway),
    )
    assert done.returncode == 0, done.stderr
    best = {
        Path(line["image"]).stem: line["classes"][0]["label"]
        for line in map(json.loads, done.stdout.splitlines())
    }
    assert len(best) == 12
    assert best["hot_dog"] == "hotdog, hot dog, red hot"
    assert "macaw" in best["parrot"]


def test_a_big_request_runs_on_several_shards_at_once(
    photo_cluster: RunningCluster, test_data: Path
) -> None:
    files = sorted((test_data / "images" / "imagenet_train_sample").glob("*.JPEG"))[:32]
    request = recognition_pb2.RecognizeRequest(
        model=recognition_pb2.ModelSelector(name="mobilenet"),
        images=[recognition_pb2.Image(content=file.read_bytes()) for file in files],
        options=recognition_pb2.RecognitionOptions(explain=True),
    )
    response = photo_cluster.recognition.Recognize(request, timeout=60)
    assert len({execution.shard for execution in response.executions}) == 2
    for execution in response.executions:
        assert execution.candidates
        assert execution.batch_size >= 1
        assert execution.device_us > 0
    assert sorted(p for execution in response.executions for p in execution.images) == [*range(32)]
