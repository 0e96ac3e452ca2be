"""Fixtures that every test may use, and the summary of what was skipped for want of something."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.fixtures_consul import (  # noqa: F401  # fixtures
    consul_binary,
    consul_server,
    consul_url,
    shared_consul,
)
from tests.fixtures_models import (  # noqa: F401  # fixtures
    digits_repository,
    pair_repository,
    photo_repository,
)
from tests.fixtures_s3 import s3_server, s3_url, shared_s3  # noqa: F401  # fixtures

ROOT = Path(__file__).resolve().parent.parent

# How long a test takes says how busy the machine is.
settings.register_profile("facet", deadline=None)
settings.load_profile("facet")


def _required() -> frozenset[str]:
    return frozenset(filter(None, os.environ.get("FACET_REQUIRE", "").split(",")))


def need(what: str, missing: str) -> None:
    """Skip the test for want of `what`, or fail it where FACET_REQUIRE names that."""
    if what in _required():
        pytest.fail(f"FACET_REQUIRE names {what}, but {missing}")
    pytest.skip(f"needs {what}: {missing}")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data (FACET_TEST_DATA, by default ../shared/data)."""
    folder = Path(os.environ.get("FACET_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        need("data", f"there is no folder {folder}")
    return folder


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Share out the tests among several processes; see tests/lanes.py."""
    from tests.lanes import Lanes

    return Lanes(config, log)
