"""Training on several workers, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path) -> None:
    told = figures("training", tmp_path)
    assert told["rounds"] == 3
    assert told["ratio"] == told["workers"]["2"]["ratio"]
    assert told["workers"].keys() == {"1", "2", "4"}
    assert told["workers"]["1"]["ratio"] == 1
    for count, figure in told["workers"].items():
        low, high = figure["images_per_s_spread"]
        assert 0 < low <= figure["images_per_s"] <= high
        assert figure["efficiency"] == pytest.approx(figure["ratio"] / int(count))
