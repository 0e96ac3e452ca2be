"""The chain through all services, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("chain", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["pairs"] == 5
    for figure in ("ratio", "cpu_ratio", "img_per_s", "reference_img_per_s", "p50_ms", "p99_ms"):
        assert told[figure] > 0, figure
    assert told["ratio_spread"][0] <= told["ratio"] <= told["ratio_spread"][1]
    assert {"gateway-1", "inference-2", "client"} <= told["cpu_us_per_image"].keys()
