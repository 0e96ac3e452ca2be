"""Faults under load, shortly. What was lost is the cluster tests' matter; here it is told."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("faults", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["rounds"] == 5
    assert told["lost"] == sum(told["lost_as"].values())
    for fault in ("killed", "frozen", "slowed"):
        low, high = told[fault]["recovery_spread_s"]
        assert 0 < low <= told[fault]["recovery_s"] <= high
    assert told["recovery_s"] == max(
        told[fault]["recovery_s"] for fault in ("killed", "frozen", "slowed")
    )
    low, high = told["overload_useful_spread"]
    assert 0 <= low <= told["overload_useful_share"] <= high
    assert told["overload_capacity_img_per_s"] > 0
