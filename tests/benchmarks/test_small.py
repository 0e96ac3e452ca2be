"""Small requests through all services, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("trained_digits")
def test_it_tells_the_promised_figures(tmp_path: Path) -> None:
    told = figures("small", tmp_path, seconds=0.2)
    assert told["pairs"] == 5
    for figure in (
        *("ratio", "unary_req_per_s", "unary_png_req_per_s"),
        *("stream_req_per_s", "batch32_img_per_s"),
    ):
        assert told[figure] > 0, figure
    for kind in ("tensor", "png", "batch32"):
        low, high = told[kind]["ratio_spread"]
        assert low <= told[kind]["ratio"] <= high
