"""One picture at a time through all services, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("latency", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["pairs"] >= 5
    low, high = told["overhead_p50_spread_ms"]
    assert low <= told["overhead_p50_ms"] <= high
    assert 0 < told["p50_ms"] <= told["p99_ms"]
    assert 0 < told["reference_p50_ms"] <= told["reference_p99_ms"]
    assert {"gateway-1", "inference-2", "client"} <= told["cpu_us_per_image"].keys()
