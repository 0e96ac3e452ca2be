"""What traces cost, measured shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path) -> None:
    told = figures("tracing", tmp_path)
    assert told["rounds"] == 5
    assert told["ratio"] == told["shares"]["all"]["ratio"] > 0
    assert told["shares"].keys() == {"none", "1 %", "all"}
    assert told["shares"]["none"]["ratio"] == 1
    for share in told["shares"].values():
        assert share["req_per_s"] > 0
        assert {"gateway-1", "scheduler-1", "inference-1"} <= share["cpu_us_per_request"].keys()
