"""What is spared is missing for a while, and not longer."""

import importlib
import sys
from pathlib import Path

import pytest

from services.common.models.spared_imports import spared


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that can be imported, with a module."""
    folder = tmp_path / "heavy_package"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("heavy_package", "heavy_package.module"):
        # Whatever a test imports is forgotten after it.
        monkeypatch.setitem(sys.modules, name, sys)
        monkeypatch.delitem(sys.modules, name)
    return folder.name


def test_it_is_missing_inside_the_block_and_there_after_it(package: str) -> None:
    with spared(package):
        for name in (package, f"{package}.module"):
            with pytest.raises(ModuleNotFoundError):
                importlib.import_module(name)
    assert importlib.import_module(f"{package}.module").__name__ == "heavy_package.module"


def test_what_is_there_already_stays(package: str) -> None:
    there = importlib.import_module(package)
    with spared(package):
        assert importlib.import_module(package) is there
        importlib.import_module(f"{package}.module")
    assert sys.modules[package] is there


def test_an_error_brings_it_back_too(package: str) -> None:
    with pytest.raises(ZeroDivisionError), spared(package):
        raise ZeroDivisionError
    importlib.import_module(package)
