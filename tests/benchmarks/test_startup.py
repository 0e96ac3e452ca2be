"""Starts of a cluster, warm and cold."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("startup", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["pairs"] == 5
    for kind in ("ready", "cold_ready"):
        low, high = told[f"{kind}_spread_s"]
        assert 0 < low <= told[f"{kind}_s"] <= high
    assert told["reference_ready_s"] > 0
    assert told["first_answer_s"] > 0
    assert {"launcher", "gateway-1", "inference-2"} <= told["cpu_s"].keys()
