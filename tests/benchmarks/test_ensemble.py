"""Two members at the same time against one, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("ensemble", tmp_path, FACET_TEST_DATA=str(test_data))
    assert told["rounds"] >= 5
    low, high = told["ratio_spread"]
    assert low <= told["ratio"] <= high
    for figure in ("ensemble", "single"):
        assert 0 < told[f"{figure}_p50_ms"] <= told[f"{figure}_p99_ms"]
    assert told["in_turn_ratio"] > 0
    assert told["in_turn_p50_ms"] > 0
