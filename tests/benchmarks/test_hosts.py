"""Faults of the network under load, shortly. What was lost is tests/hosts' matter."""

from pathlib import Path

import pytest

from benchmarks.hosts.faults import FAULTS
from benchmarks.hosts.network import missing
from tests.benchmarks.running import figures
from tests.conftest import need


@pytest.mark.timeout(300)
def test_it_tells_the_promised_figures(
    tmp_path: Path, test_data: Path, consul_binary: Path
) -> None:
    if lack := missing():
        need("namespaces", lack)
    told = figures("hosts", tmp_path, FACET_TEST_DATA=str(test_data))
    assert [each["name"] for each in told["scenarios"]] == list(FAULTS)
    assert told["lost"] == sum(sum(each["lost"].values()) for each in told["scenarios"])
    recoveries = [each["recovery_s"] for each in told["scenarios"]]
    assert told["recovery_s"] == (None if None in recoveries else max(recoveries))
    for each in told["scenarios"]:
        assert each["before"]["per_s"] > 0
        assert each["standstill_s"] > 0
        expected = each["during"]["per_s"] / each["before"]["per_s"]
        assert told["ratio"][each["name"]] == pytest.approx(expected)
