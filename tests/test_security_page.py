"""The tests that docs/security.md names for its claims are there."""

import re

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    """All files of tests: path → content."""
    files = (ROOT / "tests").rglob("test_*.py")
    return {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in files}


def test_every_file_that_it_names_is_there(sources: dict[str, str]) -> None:
    named = set(re.findall(r"`((?:tests/[a-z0-9_/]+/)?test_[a-z0-9_]+\.py)`", PAGE))
    assert len(named) > 12
    for name in named:
        assert any(f"/{path}".endswith(f"/{name}") for path in sources), name


def test_every_test_that_it_names_is_there(sources: dict[str, str]) -> None:
    named = set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE))
    assert len(named) > 20
    content = "".join(sources.values())
    for name in named:
        assert f"def {name}(" in content, name
