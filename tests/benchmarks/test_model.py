"""The performance model, measured and drawn shortly."""

from pathlib import Path

import pytest

from tests.benchmarks.running import figures


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(tmp_path: Path, test_data: Path) -> None:
    told = figures("model", tmp_path, FACET_TEST_DATA=str(test_data))
    assert len(told["shards"]) == 2
    for shard in told["shards"]:
        assert shard["batch_us"] > 0
        assert shard["image_us"] > 0
        assert len(shard["images"]) == len(shard["device_us"]) == len(shard["errors"]) > 0
    shares = [step["share"] for step in told["steps"]]
    assert shares == sorted(shares)
    assert all(step["capacity_images_per_s"] > 0 for step in told["steps"])
