"""`facet train` beside a cluster that serves what it publishes."""

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from facet.cli import versions_served
from facet.cli.versions_served import tell_when_served
from facet.client.connection import Gateway
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.errors import ModelRefusedError, UnavailableError
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from tests.cluster.commands import facet, facet_here, says
from tests.cluster.running import RunningCluster, run
from tests.ports import free_port


@pytest.fixture(scope="module")
def repository(
    digits_repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory
) -> ModelRepository:
    """A repository of the module's own, with `digits` version 1."""
    folder = tmp_path_factory.mktemp("training") / "models"
    shutil.copytree(digits_repository.root, folder)
    return ModelRepository(folder)


@pytest.fixture(scope="module")
def serving(
    make_plan: Callable[..., ClusterPlan], repository: ModelRepository
) -> Iterator[RunningCluster]:
    """A cluster on that repository."""
    with run(make_plan(models=repository.root)) as running:
        yield running


@pytest.fixture
def animals(tmp_path: Path) -> Path:
    """A folder of pictures, red and blue ones, and one file that is no picture."""
    for name, colour in (("fox", "red"), ("jay", "blue")):
        (tmp_path / "animals" / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.new("RGB", (9 + number, 9), colour)
            picture.save(tmp_path / "animals" / name / f"{number}.png")
    (tmp_path / "animals" / "fox" / "notes.txt").write_text("a fox")
    return tmp_path / "animals"


def told(key: ModelKey, gateway: str, timeout: float = 30) -> str:
    """Wait for a version, and return what was said."""
    text = io.StringIO()
    tell_when_served(key, Gateway(gateway), timeout, Console(file=text, width=200))
    return text.getvalue()


def test_a_promoted_version_is_waited_for(
    serving: RunningCluster, repository: ModelRepository
) -> None:
    done = facet(
        *("train", "digits", "--epochs", "2", "--promote", "--models", str(repository.root)),
        *("--gateway", serving.gateway),
    )
    assert done.returncode == 0, done.stderr
    assert says(done, "Published digits:2, ", " right on 596 held-out pictures")
    assert says(done, "Promoted: as was asked for")
    assert says(done, f"The cluster at {serving.gateway} serves digits:2")
    request = recognition_pb2.GetModelRequest(model=recognition_pb2.ModelSelector(name="digits"))
    response = serving.recognition.GetModel(request, timeout=10)
    assert response.model.model.version == 2
    manifest = repository.load_manifest("digits", 2)
    assert manifest.training is not None
    assert manifest.training["epochs"] == 2


def test_a_version_that_is_served_elsewhere_is_not_waited_for_long(
    serving: RunningCluster,
) -> None:
    with pytest.raises(UnavailableError, match="may serve another model repository") as raised:
        told(ModelKey("cats", 1), serving.gateway, 0.3)
    assert raised.value.reason == "NOT_SERVED"


def test_the_usual_gateway_need_not_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere = f"localhost:{free_port()}"
    with pytest.raises(UnavailableError) as raised:
        told(ModelKey("cats", 1), nowhere)
    assert raised.value.reason == "UNREACHABLE"
    monkeypatch.setattr(versions_served, "DEFAULT_GATEWAY", Gateway(nowhere))
    assert f"no gateway answers at {nowhere}" in told(ModelKey("cats", 1), "")
    assert told(ModelKey("cats", 1), nowhere, 0) == ""


def test_the_usual_gateway_may_serve_something_else(
    serving: RunningCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(versions_served, "DEFAULT_GATEWAY", Gateway(serving.gateway))
    assert "may serve another model repository" in told(ModelKey("cats", 1), "", 0.3)


def test_a_refusal_is_told(serving: RunningCluster, repository: ModelRepository) -> None:
    torn = repository.root / "digits" / ".torn"
    shutil.copytree(repository.root / "digits" / "1", torn)
    torn.rename(repository.root / "digits" / "9")
    with pytest.raises(ModelRefusedError, match=r"the cluster refuses digits:9: .* digits:1"):
        told(ModelKey("digits", 9), serving.gateway)


def test_a_folder_of_pictures_becomes_a_model(animals: Path, tmp_path: Path) -> None:
    config = tmp_path / "training.toml"
    config.write_text('model = "rnn"\nepochs = 1\nimage_size = 12\nflip = true\n')
    models = ("--models", str(tmp_path / "models"), "--wait", "0")
    done = facet("train", str(animals), "--config", str(config), "--model", "cnn", *models)
    assert done.returncode == 0, done.stderr
    assert says(done, "Skipped fox/notes.txt: not a picture in one of the formats JPEG")
    assert says(done, "Published animals:1, ", "Promoted: it is the first version")
    repository = ModelRepository(tmp_path / "models")
    manifest = repository.load_manifest("animals", 1)
    assert manifest.labels == ("fox", "jay")
    assert manifest.input.shape == (12, 12, 3)
    assert manifest.input.resize_shorter_side == 12
    assert manifest.training is not None
    assert (manifest.training["architecture"], manifest.training["flip"]) == ("cnn", True)
    assert manifest.metrics["skipped_files"] == 1
    assert repository.releases("animals").promoted == 1
    report = json.loads((repository.root / "animals" / "1" / "metrics.json").read_text())
    assert [each["file"] for each in report["skipped"]] == ["fox/notes.txt"]


def test_measuring_only_leaves_nothing(animals: Path, tmp_path: Path) -> None:
    done = facet(
        *("train", str(animals), "--epochs", "1", "--image-size", "8", "--no-publish"),
        *("--models", str(tmp_path / "models")),
    )
    assert done.returncode == 0, done.stderr
    assert says(done, "Measured, not published: ", "held-out pictures")
    left = [path for path in (tmp_path / "models").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["lock"]  # its checkpoints went with its success


def test_wrong_usage_is_told_in_a_sentence(animals: Path, tmp_path: Path) -> None:
    at = ("--models", str(tmp_path / "models"))
    nothing = facet_here("train", "no-such-folder", *at)
    assert nothing.returncode == 1
    assert says(nothing, "digits, mnist or a folder of pictures, not 'no-such-folder'")
    assert says(
        facet_here("train", str(animals), "--name", "Bad Name", *at), "a model's name must be"
    )
    assert says(
        facet_here("train", "digits", "--rotation", "999", *at), "0 to 180 degrees, not 999"
    )
    both = facet_here("train", "digits", "--promote", "--no-publish", *at)
    assert both.returncode == 2
    assert says(both, "--promote cannot go with --no-publish")
    assert not (tmp_path / "models").exists()
