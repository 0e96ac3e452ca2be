"""A SavedModel and a .tflite of a stranger's, served by a cluster."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facet.launcher.plan import ClusterPlan
from services.common.models.manifest import Manifest
from services.common.models.repository import ModelRepository
from tests.cluster.commands import facet, facet_here
from tests.cluster.running import run
from tests.conftest import ROOT

BUILD_TIMEOUT_S = 100

# TensorFlow is loaded twice: to make the models, and in the shard.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What tests.training.strangers makes."""
    folder = tmp_path_factory.mktemp("strangers")
    # In a process of its own, which takes TensorFlow's memory with it.
    subprocess.run(
        [sys.executable, "-m", "tests.training.strangers", str(folder)],
        cwd=ROOT,
        capture_output=True,
        timeout=BUILD_TIMEOUT_S,
        check=True,
    )
    return folder


def pictures_of(manifest: Manifest, repository: ModelRepository, folder: Path) -> list[float]:
    """Write the golden examples as PNG files; return the score of the best class of each."""
    golden = repository.golden_examples(manifest)
    for number, image in enumerate(golden.images):
        file = io.BytesIO()
        Image.fromarray(np.squeeze(image)).save(file, "PNG")
        (folder / f"{number}.png").write_bytes(file.getvalue())
    return [float(score) for score in golden.scores.max(axis=1)]


def test_strangers_models_are_served(
    make_plan: Callable[..., ClusterPlan], strangers: Path, tmp_path: Path
) -> None:
    repository = ModelRepository(strangers / "models")
    formats = [artefact.format for artefact in repository.load_manifest("rows", 1).artefacts]
    assert formats == ["saved_model"]
    net = facet(
        *("models", "add", "net", str(strangers / "net.tflite")),
        *("--models", str(repository.root)),
    )
    assert net.returncode == 0, net.stderr
    assert "Preprocessing tf: its quantised input stands for -0.996 to 1" in net.stderr
    assert "Added net:1 (litert)" in net.stderr
    with run(make_plan(models=repository.root, instances={"inference": 1})) as cluster:
        for name in ("rows", "net"):
            folder = tmp_path / name
            folder.mkdir()
            best = pictures_of(repository.load_manifest(name, 1), repository, folder)
            done = facet_here(
                *("classify", str(folder), "--json", "--model", name),
                *("--gateway", cluster.gateway),
            )
            assert done.returncode == 0, done.stderr
            answers = sorted(map(json.loads, done.stdout.splitlines()), key=lambda a: a["image"])
            found = [answer["classes"][0]["score"] for answer in answers]
            np.testing.assert_allclose(found, best, atol=1e-3)
        assert not cluster.deaths
