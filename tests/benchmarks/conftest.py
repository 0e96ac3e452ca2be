"""Which benchmarks the test suite runs."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from benchmarks.models import digits_place
from services.common.models.repository import ModelRepository

LONG = frozenset(
    {
        *("test_chain", "test_ensemble", "test_faults", "test_hosts", "test_latency", "test_model"),
        *("test_peers", "test_rollout", "test_startup", "test_tls", "test_tracing"),
        "test_training",
    }
)
"""Their short forms take half a minute each all the same: they start clusters again and again."""


@pytest.fixture(autouse=True)
def when_asked_for(request: pytest.FixtureRequest) -> None:
    """Skip the long ones unless FACET_REQUIRE names benchmarks; `small` stands for them."""
    asked = "benchmarks" in os.environ.get("FACET_REQUIRE", "").split(",")
    if request.path.stem in LONG and not asked:
        pytest.skip("needs benchmarks: takes long; FACET_REQUIRE=benchmarks runs it")


@pytest.fixture(scope="session")
def trained_digits(digits_repository: ModelRepository) -> None:
    """Let the benchmarks serve the digits that tests trained, which are the same."""
    place = digits_place()
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix="making-") as folder:
            copy = shutil.copytree(digits_repository.root, Path(folder) / "models")
            copy.rename(place)
