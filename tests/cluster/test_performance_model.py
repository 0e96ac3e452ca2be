"""The performance model of a real cluster under load, and the commands that show it."""

import json
import time

import pytest

from facet.cluster.v1 import cluster_pb2
from services.training.data.digits import load_digits_dataset
from tests.cluster.commands import FACET, facet_here
from tests.cluster.conftest import ImageRequest
from tests.cluster.load import load
from tests.cluster.running import RunningCluster
from tests.cluster.terminals import Terminal

SHOWN = ("pred/real", "headroom", "wanted", "q leaves")
LEAVES_SCREEN = "\x1b[?1049l"


def completed(view: cluster_pb2.Cluster) -> int:
    """Images that all shards have run."""
    return sum(instance.load.completed_images for instance in view.instances)


def asked(view: cluster_pb2.Cluster) -> float:
    """Images a second that are asked for."""
    return sum(model.asked_images_per_s for model in view.performance.models)


def test_the_figures_of_a_loaded_cluster_are_consistent(
    own_cluster: RunningCluster, digits_request: ImageRequest
) -> None:
    data = load_digits_dataset()
    request = digits_request(4)
    expected = [data.labels[label] for label in data.test_labels[:4]]
    before = own_cluster.wait_ready()
    started = time.monotonic()
    with load(own_cluster, request, expected) as running:
        running.wait_for(300)
        own_cluster.wait_for_view(lambda view: asked(view) > 0)
    view = own_cluster.wait_for_view(lambda view: completed(view) >= 4 * running.answered)
    seconds = time.monotonic() - started
    performance = view.performance
    # The window of the rates is ten seconds, and begins when the gateway began to watch.
    ran = completed(view) - completed(before)
    assert 0 < performance.images_per_s <= ran / min(seconds, 1.0)
    if seconds < 8:  # all of it lies in the window
        assert performance.images_per_s * 10.5 >= ran
    assert performance.requests.answered == running.answered
    assert not performance.requests.failed
    (model,) = performance.models
    assert model.images_per_s == pytest.approx(performance.images_per_s)
    assert model.refused_images_per_s == 0
    assert performance.headroom_images_per_s < performance.capacity_images_per_s
    assert 1 <= performance.desired_shards <= 4
    for instance in view.instances:
        for fit in instance.load.models:
            assert fit.batch_us > 0
            assert fit.image_us > 0
            assert fit.slowness > 0
            assert fit.completed_batches <= fit.completed_images <= 32 * fit.completed_batches
            assert fit.device_us <= instance.load.device_us
            if fit.completed_batches > 50:  # a busy machine may double a batch, not all of them
                assert 0.2 < fit.predicted_us / fit.device_us < 5


def test_status_is_json_for_an_autoscaler(own_cluster: RunningCluster) -> None:
    shown = json.loads(facet_here("status", "--json", "--gateway", own_cluster.gateway).stdout)
    performance = shown["performance"]
    assert performance["shards"] == 2
    assert performance["desired_shards"] >= 1
    assert {"images_per_s", "capacity_images_per_s", "headroom_images_per_s", "utilisation"} < (
        performance.keys()
    )
    shard = next(each for each in shown["instances"] if each["service"] == "inference")
    assert {"batch_us", "image_us", "slowness", "error", "bias"} < shard["load"]["models"][0].keys()


def test_top_follows_the_gateway_through_a_restart(own_cluster: RunningCluster) -> None:
    at = ("--gateway", own_cluster.gateway)
    once = facet_here("top", "--once", *at)
    assert once.returncode == 0
    assert "pred/real" in once.stdout
    refused = facet_here("top", *at)
    assert refused.returncode == 2
    assert "--once" in refused.stderr
    terminal = Terminal(FACET, "top", *at)
    try:
        for text in SHOWN:
            terminal.wait_for(text)
        place = terminal.place
        own_cluster.kill("gateway-1")
        place = terminal.wait_for("No gateway answers", place)
        terminal.wait_for("wanted 1", place)
        assert terminal.modes() != terminal.before
        terminal.press("q")
        assert terminal.end() == 0
        terminal.wait_for(LEAVES_SCREEN)
        assert terminal.modes() == terminal.before
    finally:
        terminal.close()
