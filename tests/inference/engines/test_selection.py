from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from structlog.testing import capture_logs

from services.common.errors import InvalidRequestError, ModelRefusedError
from services.common.models.manifest import Manifest
from services.inference.engines.selection import AUTO, ENGINES, is_installed, select_engine
from services.inference.settings import InferenceSettings
from tests.models.contents import write_content

BOTH = ("litert", "keras")


def manifest(folder: Path, *formats: str) -> Manifest:
    return Manifest.of(write_content(folder, formats=formats), "small", 1, datetime.now(UTC))


@pytest.mark.parametrize(
    ("formats", "preference", "packages", "chosen"),
    [
        (BOTH, "auto", {"ai_edge_litert", "tensorflow"}, "litert"),
        (BOTH, "auto", {"tensorflow"}, "tensorflow"),
        (BOTH, "tensorflow", {"ai_edge_litert", "tensorflow"}, "tensorflow"),
        (("keras",), "auto", {"ai_edge_litert", "tensorflow"}, "tensorflow"),
        (("litert",), "litert", {"ai_edge_litert"}, "litert"),
        (BOTH, "auto", {"tensorflow", "jax", "keras"}, "tensorflow"),
        (BOTH, "auto", {"ai_edge_litert", "jax", "keras"}, "litert"),
        (("keras",), "auto", {"ai_edge_litert", "jax", "keras"}, "jax"),
        (BOTH, "auto", {"jax", "keras"}, "jax"),
        (BOTH, "jax", {"ai_edge_litert", "tensorflow", "jax", "keras"}, "jax"),
    ],
)
def test_the_first_engine_that_can_is_chosen(
    tmp_path: Path, formats: tuple[str, ...], preference: str, packages: set[str], chosen: str
) -> None:
    engine = select_engine(manifest(tmp_path, *formats), preference, packages.__contains__)
    assert engine.name == chosen


@pytest.mark.parametrize(
    ("formats", "preference", "packages", "says"),
    [
        (
            ("keras",),
            "auto",
            {"ai_edge_litert"},
            "litert needs a litert artefact; tensorflow needs",
        ),
        (BOTH, "auto", set(), "litert needs ai_edge_litert to be installed; tensorflow needs"),
        (("keras",), "litert", {"ai_edge_litert"}, "small:1 here: litert needs a litert artefact$"),
        (("onnx",), "auto", {"tensorflow"}, "tensorflow needs a keras or saved_model artefact"),
        (("litert",), "auto", {"jax", "keras"}, "jax needs a keras artefact$"),
        (("litert",), "jax", {"jax", "keras"}, "small:1 here: jax needs a keras artefact$"),
        (BOTH, "jax", {"jax"}, "jax needs keras to be installed$"),
        (BOTH, "jax", set(), "jax needs jax and keras to be installed$"),
    ],
)
def test_a_version_that_nothing_can_run_is_refused(
    tmp_path: Path, formats: tuple[str, ...], preference: str, packages: set[str], says: str
) -> None:
    with pytest.raises(ModelRefusedError, match=says):
        select_engine(manifest(tmp_path, *formats), preference, packages.__contains__)


def test_one_line_in_the_log_tells_why_an_engine_was_passed_over(tmp_path: Path) -> None:
    version = manifest(tmp_path, "keras")
    with capture_logs() as lines:
        select_engine(version, "auto", {"ai_edge_litert", "tensorflow"}.__contains__)
    assert lines == [
        {
            "event": "falls back to another engine",
            "log_level": "info",
            "model": "small:1",
            "engine": "tensorflow",
            "because": "litert needs a litert artefact",
        }
    ]
    with capture_logs() as lines:
        select_engine(version, "tensorflow", {"tensorflow"}.__contains__)
    assert lines == []


def test_an_unknown_engine_is_a_wrong_request(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidRequestError, match="one of auto, litert, tensorflow, jax, not 'abacus'"
    ):
        select_engine(manifest(tmp_path, *BOTH), "abacus")


def test_every_engine_can_be_asked_for_in_the_settings() -> None:
    choices = get_args(InferenceSettings.model_fields["engine"].annotation)
    assert choices == (AUTO, *ENGINES)


def test_every_engine_is_found_where_tests_run() -> None:
    assert all(is_installed(name) for engine in ENGINES.values() for name in engine.packages)
    assert not is_installed("no_such_package")
