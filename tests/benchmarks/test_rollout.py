"""A roll-out under load, shortly. That nothing is lost is the cluster tests' matter as well."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("rollout", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["rounds"] == 5
    assert told["lost"] == sum(told["lost_as"].values()) == 0
    for ratio in ("ratio", "control"):
        low, high = told[f"{ratio}_spread"]
        assert 0 < low <= high
    assert told["ratio_spread"][0] <= told["ratio"] <= told["ratio_spread"][1]
    assert told["live_s"] > 0
