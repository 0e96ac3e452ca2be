"""Ensembles of versions that fit together, and why others are refused."""

import math
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from facet.type.v1 import model_pb2
from services.common.errors import InvalidRequestError, ModelNotFoundError, ModelRefusedError
from services.common.models.assembly import ensembles_with, publish_ensemble, shares_of
from services.common.models.ensemble import Ensemble, Member
from services.common.models.key import ModelKey
from services.common.models.manifest import MANIFEST_FILE, Manifest, VersionContent
from services.common.models.repository import ModelRepository
from tests.models.contents import LABELS, write_content
from tests.repeatable import repeatable

CATS, MORE, DOGS = ModelKey("cats", 1), ModelKey("cats", 2), ModelKey("dogs", 1)


@pytest.fixture
def repository(tmp_path: Path) -> ModelRepository:
    """A repository with three versions that fit together."""
    repository = ModelRepository(tmp_path / "models")
    for name in (CATS.name, MORE.name, DOGS.name):
        repository.publish(name, write_content)
    return repository


def publish(repository: ModelRepository, name: str, **content: object) -> ModelKey:
    """Publish another version."""
    return repository.publish(name, partial(write_content, **content)).key  # type: ignore[arg-type]


def test_an_ensemble_is_a_version_like_others(repository: ModelRepository) -> None:
    made = publish_ensemble(repository, "pets", {CATS: 1, DOGS: 3}, "weighted")
    assert made.key == ModelKey("pets", 1)
    read = repository.load_manifest("pets", 1)
    assert read == made
    assert read.ensemble == Ensemble(
        rule="weighted",
        members=(
            Member(name="cats", version=1, weight=0.25),
            Member(name="dogs", version=1, weight=0.75),
        ),
    )
    assert (read.labels, read.artefacts, read.golden, read.files) == (LABELS, (), None, ())
    assert read.source == "weighted of cats:1 (25.0%), dogs:1 (75.0%)"
    repository.verify(read)
    with pytest.raises(ModelRefusedError, match="is an ensemble"):
        repository.golden_examples(read)
    descriptor = read.to_descriptor(max_batch=0, engine="")
    assert descriptor.ensemble.rule == model_pb2.ENSEMBLE_RULE_WEIGHTED
    assert [member.weight for member in descriptor.ensemble.members] == [0.25, 0.75]
    assert publish_ensemble(repository, "cats", {CATS: 1, MORE: 1}, "mean").key == ("cats", 3)


def test_versions_that_are_none_are_written_as_ever(repository: ModelRepository) -> None:
    manifest = repository.load_manifest(*CATS)
    assert b'"ensemble"' not in manifest.to_json()
    assert not manifest.to_descriptor(max_batch=1, engine="litert").HasField("ensemble")


@repeatable
@given(st.lists(st.floats(1e-150, 1e150), min_size=2, max_size=8))
def test_any_weights_are_shares(weights: list[float]) -> None:
    members = {ModelKey("m", number): weight for number, weight in enumerate(weights, 1)}
    shares = shares_of(members, "weighted")
    assert math.fsum(shares) == pytest.approx(1)
    assert min(shares) > 0
    total = math.fsum(weights)
    assert shares == [pytest.approx(weight / total) for weight in weights]


def test_a_weight_that_vanishes_beside_another_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="no effect"):
        shares_of({CATS: 1e-300, DOGS: 1e300}, "weighted")
    with pytest.raises(InvalidRequestError, match="no effect"):
        shares_of({CATS: 1e-300, DOGS: 1e300}, "vote")


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf])
def test_weights_that_make_no_sense_are_refused(repository: ModelRepository, weight: float) -> None:
    with pytest.raises(InvalidRequestError, match="weight of dogs:1 must be above 0"):
        publish_ensemble(repository, "pets", {CATS: 1, DOGS: weight}, "weighted")


def test_what_cannot_answer_together_is_refused(repository: ModelRepository) -> None:
    fewer = publish(repository, "few", labels=("one", "two"))
    other = publish(repository, "other", labels=("one", "zwei", "tre"))
    linear = publish(repository, "linear", activation="linear")
    pets = publish_ensemble(repository, "pets", {CATS: 1, DOGS: 1}, "mean").key
    refused: list[tuple[dict[ModelKey, float], str]] = [
        ({CATS: 1.0}, "2 to 8 different members, not 1"),
        ({ModelKey("m", number): 1.0 for number in range(9)}, "not 9"),
        ({CATS: 1, fewer: 1}, "cats:1 has 3 classes, and few:1 2"),
        ({CATS: 1, other: 1}, "cats:1 and other:1 differ in class 1: 'two' and 'zwei'"),
        ({CATS: 1, linear: 1}, "linear:1 gives scores of any size and cats:1 scores of 0 to 1"),
        ({CATS: 1, pets: 1}, "pets:1 is an ensemble itself"),
        ({CATS: 1, DOGS: 2}, "a mean has no weights"),
    ]
    for members, says in refused:
        with pytest.raises(InvalidRequestError, match=says):
            publish_ensemble(repository, "all", members, "mean")
    with pytest.raises(ModelNotFoundError, match="no version 9"):
        publish_ensemble(repository, "all", {CATS: 1, ModelKey("cats", 9): 1}, "mean")
    assert "all" not in repository.list_models()


def test_members_must_be_whole(repository: ModelRepository) -> None:
    (repository.root / "dogs" / "1" / "model.litert").write_bytes(b"other")
    with pytest.raises(ModelRefusedError, match="was altered"):
        publish_ensemble(repository, "pets", {CATS: 1, DOGS: 1}, "mean")


def test_the_output_is_what_the_rule_makes_it(repository: ModelRepository) -> None:
    linear = [publish(repository, f"linear{number}", activation="linear") for number in range(2)]
    sigmoid = publish(repository, "sigmoid", activation="sigmoid")

    def activation(rule: str, *members: ModelKey) -> str:
        made = publish_ensemble(repository, "any", dict.fromkeys(members, 1), rule)  # type: ignore[arg-type]
        return made.outputs.activation

    assert activation("mean", CATS, DOGS) == "softmax"
    assert activation("mean", *linear) == "linear"
    assert activation("weighted", CATS, sigmoid) == "sigmoid"
    assert activation("vote", CATS, linear[0]) == "softmax"


def test_it_is_known_which_ensembles_need_a_version(repository: ModelRepository) -> None:
    publish_ensemble(repository, "pets", {CATS: 1, DOGS: 1}, "vote")
    publish_ensemble(repository, "cats", {CATS: 1, MORE: 1}, "vote")
    publish_ensemble(repository, "pets", {MORE: 1, DOGS: 1}, "vote")
    (repository.root / "pets" / "2" / MANIFEST_FILE).write_text("{}")
    assert ensembles_with(repository, CATS) == [ModelKey("cats", 3), ModelKey("pets", 1)]
    assert ensembles_with(repository, DOGS) == [ModelKey("pets", 1)]
    assert ensembles_with(repository, ModelKey("pets", 1)) == []


HALVES = (
    Member(name="a", version=1, weight=0.5),
    Member(name="b", version=1, weight=0.5),
)


def test_a_record_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    fields = dict(write_content(tmp_path))
    whole = Ensemble(rule="mean", members=HALVES)
    with pytest.raises(ValidationError, match="neither artefacts nor golden"):
        VersionContent(**fields | {"ensemble": whole})
    with pytest.raises(ValidationError, match="or is an ensemble"):
        VersionContent(**fields | {"artefacts": ()})
    with pytest.raises(ValidationError, match="named twice"):
        Ensemble(rule="mean", members=(HALVES[0], HALVES[0]))
    with pytest.raises(ValidationError, match=r"add up to 1\.5"):
        Ensemble(rule="mean", members=(HALVES[0], Member(name="b", version=1, weight=1.0)))
    uneven = tuple(
        Member(name=name, version=1, weight=weight) for name, weight in (("a", 0.25), ("b", 0.75))
    )
    with pytest.raises(ValidationError, match="equal weights"):
        Ensemble(rule="mean", members=uneven)
    with pytest.raises(ValidationError):
        Ensemble(rule="mean", members=HALVES[:1])


def test_a_manifest_of_an_ensemble_survives_the_file(repository: ModelRepository) -> None:
    made = publish_ensemble(repository, "pets", {CATS: 2, MORE: 1, DOGS: 4}, "vote")
    read = Manifest.from_json(made.to_json(), "here")
    assert read == made
    assert read.to_json() == made.to_json()
