"""TLS beside plain text in the benchmarks that have it, measured shortly."""

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.running import figures


def check(told: dict[str, Any]) -> None:
    """The figures of TLS fit together; the ratio is to plain text, the differences are too."""
    low, high = told["ratio_spread"]
    assert 0 < low <= told["ratio"] <= high
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    low, high = told["more_p50_spread_ms"]
    assert low <= told["more_p50_ms"] <= high
    assert told["img_per_s"] > 0
    assert told["cpu_ratio"] > 0
    assert {"gateway-1", "inference-2", "client"} <= told["cpu_us_per_image"].keys()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["chain", "latency"])
def test_photographs(name: str, tmp_path: Path, test_data: Path) -> None:
    told = figures(name, tmp_path, "--tls", seconds=0.5, FACET_TEST_DATA=str(test_data))
    assert told["pairs"] >= 5
    check(told["tls"])


@pytest.mark.timeout(300)
def test_small_requests(tmp_path: Path) -> None:
    told = figures("small", tmp_path, "--tls", seconds=0.2)
    assert told["tls"].keys() == {"tensor", "png", "batch32", "stream"}
    for kind in told["tls"].values():
        check(kind)
