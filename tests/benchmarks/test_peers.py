"""Environments for peers, what is sent to them, and the comparison where they are installed."""

from pathlib import Path

import pytest

from benchmarks.peer_doors import triton_requests
from benchmarks.peer_environments import environment, is_installed, same
from benchmarks.peers import peers
from services.common.errors import ConfigurationError
from tests.benchmarks.running import figures
from tests.conftest import need


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    absent = [each.name for each in peers() if not is_installed(each.name, each.requirements)]
    if absent:
        need("peers", f"{', '.join(absent)} are installed by `python -m benchmarks.peers` only")
    told = figures("peers", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["rounds"] == 5
    assert told["missing"] == {}
    assert list(told["servers"]) == ["facet", "triton", "litserve", "one process"]
    for server in told["servers"].values():
        low, high = server["img_per_s_spread"]
        assert 0 < low <= server["img_per_s"] <= high


def test_what_cannot_be_installed_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACET_PEERS", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"cannot be installed|there is no"):
        environment("wrong", ["./no-such-folder"])
    with pytest.raises(ConfigurationError, match=r"cannot be installed|there is no"):
        environment("wrong", ["./no-such-folder"])
    assert not is_installed("wrong", ["./no-such-folder"])


def test_requirements_name_the_versions_that_are_here() -> None:
    (numpy,) = same("numpy")
    assert numpy.startswith("numpy==")


def test_a_triton_request_carries_the_file_behind_its_length() -> None:
    (request,) = triton_requests([b"\xff\xd8picture"])
    assert request.endswith(b"\x09\x00\x00\x00\xff\xd8picture")
