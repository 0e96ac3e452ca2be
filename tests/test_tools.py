"""The build of the tools: where it puts them, and what it says."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.tools import SOURCES, find_tool, kustomize_folder, tools_folder


def _build(cache: Path, path: str, script: str = "build.sh") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [SOURCES / script],
        env={"PATH": path, "HOME": str(cache), "FACET_TOOLS": str(cache)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_what_is_built_is_found_where_the_tests_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_TOOLS", str(tmp_path))
    folder = tools_folder()
    folder.mkdir()
    for name in ("consul", "grpcurl", "ghz"):
        (folder / name).touch(mode=0o755)
    built = _build(tmp_path, os.environ["PATH"])
    assert (built.returncode, built.stdout, built.stderr) == (0, f"{folder}\n", "")
    assert find_tool("consul") == folder / "consul"


def test_kustomize_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACET_TOOLS", str(tmp_path))
    folder = kustomize_folder()
    folder.mkdir()
    (folder / "kustomize").touch(mode=0o755)
    built = _build(tmp_path, os.environ["PATH"], "kustomize.sh")
    assert (built.returncode, built.stdout, built.stderr) == (0, f"{folder}\n", "")
    assert find_tool("kustomize") == folder / "kustomize"


def test_without_go_the_build_says_so(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "cat", "sha256sum", "cut"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    built = _build(tmp_path, str(tools))
    assert built.returncode == 1
    assert built.stdout == ""
    assert "no 'go' on the PATH" in built.stderr
    assert os.listdir(tmp_path) == ["bin"]
