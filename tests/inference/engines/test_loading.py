"""Versions that must not be served; `test_jax` runs this without TensorFlow too."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from services.common.errors import ModelNotFoundError, ModelRefusedError
from services.common.models.artefacts import Artefact
from services.common.models.cache import FileCache
from services.common.models.golden import GoldenExamples
from services.common.models.input_spec import InputSpec
from services.common.models.manifest import Manifest, VersionContent
from services.common.models.repository import ModelRepository
from services.inference.engines.loading import load_version
from tests.fixtures_models import digits_repository  # noqa: F401
from tests.inference.engines.here import KERAS_ENGINE
from tests.models.contents import copy_of

FILES = {"litert": "model.tflite", KERAS_ENGINE: "model.keras"}


@pytest.fixture
def repository(
    digits_repository: ModelRepository,  # noqa: F811
    tmp_path: Path,
) -> ModelRepository:
    """The trained digits in a repository of the test's own."""
    shutil.copytree(digits_repository.root, tmp_path / "models")
    return ModelRepository(tmp_path / "models")


def load(repository: ModelRepository, version: int, engine: str = "auto") -> Manifest:
    loaded = load_version(repository, "digits", version, batch_sizes=[1, 2], preference=engine)
    loaded.engine.close()
    return loaded.manifest


def publish_again(repository: ModelRepository, **changes: object) -> int:
    """Publish the files of version 1 with another content, and return its number."""
    first = repository.load_manifest("digits", 1)

    def build(folder: Path) -> VersionContent:
        for path in (repository.root / "digits" / "1").iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, folder)
        fields = {key: getattr(first, key) for key in VersionContent.model_fields}
        golden = changes.pop("examples", None)
        if isinstance(golden, GoldenExamples):
            fields["golden"] = golden.save(folder)
        for file_format, content in changes.pop("artefacts", {}).items():  # type: ignore[attr-defined]
            path = folder / f"replaced.{file_format}"
            path.write_bytes(content)
            fields["artefacts"] = (Artefact.describe(path, file_format),)
        return VersionContent(**fields | changes)

    return repository.publish("digits", build).version


def test_a_whole_version_loads(repository: ModelRepository) -> None:
    assert load(repository, 1).name == "digits"


@pytest.mark.parametrize("engine", FILES)
def test_a_version_in_an_object_store_loads_from_the_cache(
    repository: ModelRepository, tmp_path: Path, engine: str
) -> None:
    cache = FileCache(tmp_path / "cache", 2**30)
    remote = ModelRepository.open(f"memory://{tmp_path.name}-{engine}", cache)
    remote.publish("digits", copy_of(repository, repository.load_manifest("digits", 1)))
    assert load(remote, 1, engine).name == "digits"
    cache.close()


def test_a_version_that_is_not_there(repository: ModelRepository) -> None:
    with pytest.raises(ModelNotFoundError, match="no version 2 of model 'digits'"):
        load(repository, 2)


@pytest.mark.parametrize("engine", FILES)
def test_an_altered_artefact_is_not_loaded(repository: ModelRepository, engine: str) -> None:
    path = repository.root / "digits" / "1" / FILES[engine]
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelRefusedError, match=f"{FILES[engine]} was altered"):
        load(repository, 1, engine)


@pytest.mark.parametrize("engine", FILES)
def test_outputs_that_differ_are_refused_with_the_difference(
    repository: ModelRepository, engine: str
) -> None:
    golden = repository.golden_examples(repository.load_manifest("digits", 1))
    scores = golden.scores.copy()
    scores[1, 2] += 0.25
    version = publish_again(repository, examples=GoldenExamples(golden.images, scores))
    with pytest.raises(
        ModelRefusedError,
        match=rf"digits:{version} on {engine}: .* up to 0\.25 \(example 1, output 2\)",
    ):
        load(repository, version, engine)


@pytest.mark.parametrize(("engine", "file_format"), [("litert", "litert"), (KERAS_ENGINE, "keras")])
@pytest.mark.parametrize("content", [b"", b"nonsense" * 100])
def test_a_file_that_is_no_model_is_refused(
    repository: ModelRepository, engine: str, file_format: str, content: bytes
) -> None:
    version = publish_again(repository, artefacts={file_format: content})
    with pytest.raises(ModelRefusedError, match=r"cannot load .*replaced"):
        load(repository, version, engine)


@pytest.mark.parametrize("engine", FILES)
def test_a_manifest_that_claims_another_input_is_refused(
    repository: ModelRepository, engine: str
) -> None:
    examples = GoldenExamples(np.zeros((1, 20, 28, 1), np.uint8), np.zeros((1, 10), np.float32))
    version = publish_again(repository, input=InputSpec(20, 28, 1), examples=examples)
    with pytest.raises(ModelRefusedError, match=r"\(28, 28, 1\)|28, 28"):
        load(repository, version, engine)


@pytest.mark.parametrize("engine", FILES)
def test_a_manifest_that_claims_other_outputs_is_refused(
    repository: ModelRepository, engine: str
) -> None:
    first = repository.load_manifest("digits", 1)
    version = publish_again(
        repository,
        outputs=first.outputs.model_copy(update={"classes": 9}),
        labels=first.labels[:9],
    )
    with pytest.raises(ModelRefusedError, match=r"shape \(1, 10\).*not \(1, 9\)"):
        load(repository, version, engine)


def test_nothing_of_the_native_libraries_reaches_the_terminal(
    repository: ModelRepository, capfd: pytest.CaptureFixture[str]
) -> None:
    load(repository, 1, "litert")
    assert capfd.readouterr() == ("", "")
