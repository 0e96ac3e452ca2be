"""An ensemble of two trained models on two real shards, of which each serves one of them."""

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from facet.cluster.v1 import cluster_pb2
from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2
from services.common.models.assembly import publish_ensemble
from services.common.models.key import ModelKey
from services.common.models.manifest import VersionContent
from services.common.models.repository import ModelRepository
from tests.cluster.commands import facet_here, says
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import RunningCluster, run
from tests.reasons import reason_of

DIGITS, SECOND, THIRD = ModelKey("digits", 1), ModelKey("second", 1), ModelKey("third", 1)
IMAGES = 12


@dataclass
class Apart:
    """A cluster, and the shard that alone serves `second`."""

    cluster: RunningCluster
    models: ModelRepository
    shard: subprocess.Popen[bytes]


@pytest.fixture(scope="module")
def models(
    pair_repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory
) -> ModelRepository:
    """A repository with three models, `pair` of the first two, and `trio` of all."""
    root = tmp_path_factory.mktemp("ensembles") / "models"
    shutil.copytree(pair_repository.root, root)
    repository = ModelRepository(root)
    copied = repository.load_manifest(*SECOND)

    def build(folder: Path) -> VersionContent:
        for stored in copied.files:
            shutil.copy(root / "second" / "1" / stored.file, folder)
        return VersionContent(
            **{field: getattr(copied, field) for field in VersionContent.model_fields}
        )

    repository.publish(THIRD.name, build)
    publish_ensemble(repository, "pair", {DIGITS: 1, SECOND: 3}, "weighted")
    publish_ensemble(repository, "trio", dict.fromkeys((DIGITS, SECOND, THIRD), 1), "vote")
    return repository


def _without(models: ModelRepository, root: Path, *altered: ModelKey) -> Path:
    """A copy in which some versions are altered, so that no shard serves them from there."""
    shutil.copytree(models.root, root)
    for key in altered:
        for artefact in models.load_manifest(*key).artefacts:
            with (root / key.name / str(key.version) / artefact.file).open("ab") as file:
                file.write(b"more")
    return root


@contextmanager
def _shard(plan: ClusterPlan, models: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One more shard of the cluster, on another repository."""
    (like,) = (process for process in plan.processes() if process.service == "inference")
    environment = {**like.environment, "FACET_NAME": "apart", "FACET_MODELS": str(models)}
    with (plan.home / "logs" / "apart.log").open("wb") as log:
        process = subprocess.Popen(
            like.command, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def apart(
    make_plan: Callable[..., ClusterPlan],
    models: ModelRepository,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Apart]:
    """A cluster with a shard for `digits` and one for `second`; none serves `third`."""
    folder = tmp_path_factory.mktemp("apart")
    plan = make_plan(
        models=_without(models, folder / "one", SECOND, THIRD), instances={"inference": 1}
    )
    other = _without(models, folder / "other", DIGITS, THIRD)
    with run(plan) as cluster, _shard(plan, other) as shard:
        cluster.wait_for_view(lambda view: _serves(view, SECOND))
        yield Apart(cluster, models, shard)


def _serves(view: cluster_pb2.Cluster, model: ModelKey) -> bool:
    served = [each for instance in view.instances for each in instance.models]
    return model in map(ModelKey.from_message, served)


def _ask(
    apart: Apart, request: ImageRequest, model: str, timeout: float = 60
) -> recognition_pb2.RecognizeResponse:
    response: recognition_pb2.RecognizeResponse = apart.cluster.recognition.Recognize(
        request(
            IMAGES,
            model=recognition_pb2.ModelSelector(name=model),
            options=recognition_pb2.RecognitionOptions(top_k=10, explain=True),
        ),
        timeout=timeout,
    )
    return response


def _scores(response: recognition_pb2.RecognizeResponse) -> list[dict[int, float]]:
    return [
        {each.index: each.score for each in result.classification.classes}
        for result in response.results
    ]


def _failures(response: recognition_pb2.RecognizeResponse) -> list[tuple[str, str]]:
    assert response.partial == bool(response.failures)
    assert all(list(failure.images) == list(range(IMAGES)) for failure in response.failures)
    return [(failure.model.name, reason_of(failure.error)) for failure in response.failures]


def test_members_on_different_shards_answer_together(
    apart: Apart, digits_request: ImageRequest
) -> None:
    whole = _ask(apart, digits_request, "pair")
    assert _failures(whole) == []
    alone = [_scores(_ask(apart, digits_request, model)) for model in ("digits", "second")]
    assert alone[0] != alone[1]
    for found, one, other in zip(_scores(whole), *alone, strict=True):
        assert found == pytest.approx(
            {index: 0.25 * one[index] + 0.75 * other[index] for index in one}, abs=1e-6
        )
    ran = {(each.model.name, each.shard) for each in whole.executions}
    assert len(ran) == 2
    assert len({shard for _, shard in ran}) == 2


def test_classify_says_what_an_answer_lacks(
    apart: Apart, digit_png: Callable[[int], bytes], tmp_path: Path
) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(digit_png(0))
    asked = ("classify", str(picture), "--gateway", apart.cluster.gateway)
    told = facet_here(*asked, "--model", "trio", "--json")
    assert told.returncode == 0, told.stderr
    answer = json.loads(told.stdout)
    assert answer["partial"] is True
    (failure,) = answer["failures"]
    assert (failure["model"], failure["version"]) == ("third", 1)
    assert (failure["code"], failure["reason"]) == ("FAILED_PRECONDITION", "MODEL_REFUSED")
    assert "every shard refuses third:1" in failure["message"]
    assert (
        "partial, without third:1 (MODEL_REFUSED)" in facet_here(*asked, "--model", "trio").stdout
    )
    whole = json.loads(facet_here(*asked, "--model", "pair", "--json").stdout)
    assert not whole.keys() & {"partial", "failures"}
    assert "partial" not in facet_here(*asked, "--model", "pair").stdout


def test_an_ensemble_is_made_and_shown(models: ModelRepository) -> None:
    at = ("--models", str(models.root))
    made = facet_here("models", "ensemble", "both", "digits", "second:1=3", *at)
    assert made.returncode == 0, made.stderr
    assert says(made, "Published both:1, weighted of digits:1 (25.0%), second:1 (75.0%)")
    shown = json.loads(facet_here("models", "show", "both", "--json", *at).stdout)
    assert shown["ensemble"]["members"][1] == {"name": "second", "version": 1, "weight": 0.75}
    assert "weighted of digits:1 (25.0%)" in facet_here("models", "show", "both", *at).stdout
    assert "ensemble" in facet_here("models", "list", *at, COLUMNS="200").stdout
    needed = facet_here("models", "remove", "digits:1", *at)
    assert needed.returncode == 1
    assert says(needed, "digits:1 is a member of both:1, pair:1, trio:1")
    assert models.versions("digits") == (1,)


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["digits", "cats"], 1, "there is no model 'cats'"),
        (["digits", "digits:1"], 1, "the member digits:1 is named twice"),
        (["digits"], 1, "2 to 8 different members, not 1"),
        (["digits", "second=x"], 2, "the weight in 'second=x' is not a number"),
        (["digits", "second=2", "--rule", "mean"], 1, "a mean has no weights"),
        (["digits", "pair"], 1, "pair:1 is an ensemble itself"),
    ],
)
def test_what_makes_no_ensemble_is_told(
    models: ModelRepository, arguments: list[str], code: int, text: str
) -> None:
    done = facet_here("models", "ensemble", "none", *arguments, "--models", str(models.root))
    assert done.returncode == code
    assert says(done, text)
    assert "none" not in models.list_models()


def test_a_member_whose_shard_hangs_or_died_is_done_without(
    apart: Apart, digits_request: ImageRequest
) -> None:
    expected = _scores(_ask(apart, digits_request, "digits"))
    apart.shard.send_signal(signal.SIGSTOP)
    try:
        hanging = _ask(apart, digits_request, "pair", timeout=4)
    finally:
        apart.shard.send_signal(signal.SIGCONT)
    assert _failures(hanging) == [("second", "MEMBER_LATE")]
    for found, alone in zip(_scores(hanging), expected, strict=True):
        assert found == pytest.approx(alone)
    assert _failures(_ask(apart, digits_request, "pair")) == []
    apart.shard.kill()
    apart.shard.wait(30)
    assert _failures(_ask(apart, digits_request, "pair", timeout=4)) == [("second", "MEMBER_LATE")]
