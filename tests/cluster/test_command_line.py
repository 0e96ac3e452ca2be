"""The `facet` command against a real cluster."""

import json
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from services.common.models.repository import ModelRepository
from services.training.data.dataset import Dataset
from tests.cluster.commands import Up, facet, facet_here, says
from tests.cluster.running import RunningCluster
from tests.models.contents import copy_of
from tests.ports import free_port


@pytest.fixture
def pictures(tmp_path: Path, digit_png: Callable[[int], bytes]) -> Path:
    """A folder with three digits, one of them in a folder below, and a text file."""
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "below/c.png"]):
        (folder / name).write_bytes(digit_png(number))
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_classify_for_people(cluster: RunningCluster, pictures: Path) -> None:
    done = facet_here("classify", str(pictures), "--gateway", cluster.gateway)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.strip().splitlines()
    assert [Path(line.split()[0]).name for line in lines] == ["a.png", "b.png", "c.png"]
    assert "%" in lines[0]


def test_classify_for_scripts(cluster: RunningCluster, pictures: Path, digits: Dataset) -> None:
    broken = pictures / "broken.png"
    broken.write_bytes((pictures / "a.png").read_bytes()[:50])
    done = facet_here(
        *("classify", str(pictures / "*.png"), "--json", "--top-k", "2"),
        *("--model", "digits:1", "--gateway", cluster.gateway),
    )
    assert done.returncode == 1
    first, second, failed = map(json.loads, done.stdout.splitlines())
    assert (first["image"], first["model"], first["version"]) == (
        str(pictures / "a.png"),
        "digits",
        1,
    )
    assert first["classes"][0]["label"] == digits.labels[digits.test_labels[0]]
    assert [set(score) for score in second["classes"]] == [{"label", "index", "score"}] * 2
    assert failed["image"] == str(broken)
    assert (failed["error"]["code"], failed["error"]["reason"]) == (
        "INVALID_ARGUMENT",
        "IMAGE_CORRUPT",
    )


def test_classify_exit_codes(cluster: RunningCluster, pictures: Path) -> None:
    at = ("--gateway", cluster.gateway)
    missing = facet_here("classify", str(pictures / "nothing"), *at)
    assert missing.returncode == 2
    assert says(missing, "there is no file or folder")
    assert facet_here("classify", *at).returncode == 2
    assert facet_here("classify", str(pictures), "--model", "digits:x", *at).returncode == 2
    unknown = facet_here("classify", str(pictures), "--model", "cats", *at)
    assert unknown.returncode == 1
    assert says(unknown, "there is no model 'cats'; served: digits:1")
    nobody = facet_here("classify", str(pictures), "--gateway", f"localhost:{free_port()}")
    assert nobody.returncode == 3
    assert says(nobody, "no gateway answers at")


def test_status(cluster: RunningCluster) -> None:
    done = facet_here("status", "--json", "--gateway", cluster.gateway)
    instances = json.loads(done.stdout)["instances"]
    assert [instance["service"] for instance in instances] == [
        "aggregation",
        "gateway",
        "inference",
        "inference",
        "preprocessing",
        "scheduler",
    ]
    shard = instances[2]
    assert shard["models"] == [{"name": "digits", "version": "1"}]
    assert shard["load"]["outstanding_images"] == 0
    assert {"wasted_images", "wasted_us"} <= shard["load"].keys()
    assert "wasted_images" in instances[-1]
    table = facet_here("status", "--gateway", cluster.gateway, COLUMNS="200")
    assert table.stdout.count("serving") == 6
    assert facet_here("status", "--gateway", f"localhost:{free_port()}").returncode == 3


def test_wait(cluster: RunningCluster) -> None:
    assert facet_here("wait", "--gateway", cluster.gateway).returncode == 0
    nobody = facet_here("wait", "--timeout", "0.5", "--gateway", f"localhost:{free_port()}")
    assert nobody.returncode == 1
    assert says(nobody, "not ready after 0.5 s", "the gateway does not answer")


def test_models(digits_repository: ModelRepository, tmp_path: Path) -> None:
    root = str(digits_repository.root)
    (listed,) = json.loads(facet_here("models", "list", "--json", "--models", root).stdout)
    assert (listed["name"], listed["version"]) == ("digits", 1)
    assert "digits" in facet_here("models", "list", "--models", root).stdout
    shown = json.loads(facet_here("models", "show", "digits", "--json", "--models", root).stdout)
    assert shown["labels"] == list("0123456789")
    assert "sha256" in facet_here("models", "show", "digits:1", "--models", root).stdout
    assert says(facet_here("models", "show", "cats", "--models", root), "no model 'cats'")
    assert says(facet_here("models", "show", "digits:7", "--models", root), "no version 7")
    assert facet_here("models", "show", "digits:one", "--models", root).returncode == 2
    rubbish = tmp_path / "rubbish.keras"
    rubbish.write_bytes(b"rubbish")
    refused = facet_here("models", "add", "new", str(rubbish), "--models", str(tmp_path / "new"))
    assert refused.returncode == 1
    assert says(refused, "Error:", "rubbish.keras")
    assert not (tmp_path / "new" / "new").exists()


def test_completion() -> None:
    done = facet("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "facet" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_up_leaves_nothing_behind(
    digits_repository: ModelRepository, tmp_path: Path, number: signal.Signals
) -> None:
    up = Up(tmp_path, digits_repository.root)
    try:
        up.wait_ready()
        children = psutil.Process(up.process.pid).children(recursive=True)
        assert len(children) == 6
    finally:
        code = up.end(number)
    assert code == 0
    assert not any(child.is_running() for child in children)
    assert not [*(tmp_path / "registry" / "instances").rglob("*.json")]


def test_the_children_of_a_killed_up_end_too(
    digits_repository: ModelRepository, tmp_path: Path
) -> None:
    up = Up(tmp_path, digits_repository.root)
    try:
        up.wait_ready()
        children = psutil.Process(up.process.pid).children(recursive=True)
    finally:
        up.end(signal.SIGKILL)
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert (len(gone), alive) == (6, [])


def test_two_homes_do_not_meet_and_one_home_has_one_cluster(
    digits_repository: ModelRepository, tmp_path: Path
) -> None:
    first = Up(tmp_path / "first", digits_repository.root, "--shards", "1")
    second = Up(tmp_path / "second", digits_repository.root, "--shards", "1")
    try:
        first.wait_ready()
        second.wait_ready()
        for up in (first, second):
            status = facet_here("status", "--json", "--gateway", f"localhost:{up.port}")
            assert len(json.loads(status.stdout)["instances"]) == 5
        again = facet("up", "--home", str(tmp_path / "first"), "--port", str(free_port()))
        assert again.returncode == 1
        assert says(again, "a cluster runs in", "already")
        taken = facet("up", "--home", str(tmp_path / "third"), "--port", str(first.port))
        assert taken.returncode == 1
        assert says(taken, "gateway-1 cannot start", f"cannot listen on 127.0.0.1:{first.port}")
    finally:
        first.end(signal.SIGINT)
        second.end(signal.SIGINT)


def test_a_new_version_goes_live_without_a_restart(
    digits_repository: ModelRepository, tmp_path: Path, pictures: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(digits_repository.root, models)
    up = Up(tmp_path / "home", models, "--shards", "1")
    try:
        up.wait_ready()
        repository, address = ModelRepository(models), f"localhost:{up.port}"
        repository.publish("digits", copy_of(repository, repository.load_manifest("digits", 1)))
        picture = str(pictures / "a.png")

        def version() -> int:
            done = facet_here("classify", picture, "--json", "--gateway", address)
            return int(json.loads(done.stdout)["version"])

        deadline = threading.Event()
        for _ in range(100):
            if version() == 2:
                break
            deadline.wait(0.1)
        assert version() == 2
        old = facet_here("classify", picture, "--json", "--model", "digits:1", "--gateway", address)
        assert json.loads(old.stdout)["version"] == 1
    finally:
        up.end(signal.SIGINT)
