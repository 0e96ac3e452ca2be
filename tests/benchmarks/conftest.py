"""Which benchmarks the test suite runs."""

import os

import pytest

LONG = frozenset(
    {
        *("test_chain", "test_ensemble", "test_faults", "test_hosts", "test_latency", "test_model"),
        *("test_peers", "test_rollout", "test_startup", "test_tls", "test_tracing"),
        "test_training",
    }
)
"""Their short forms take half a minute each all the same: they start clusters again and again."""


@pytest.fixture(autouse=True)
def when_asked_for(request: pytest.FixtureRequest) -> None:
    """Skip the long ones unless FACET_REQUIRE names benchmarks; `small` stands for them."""
    asked = "benchmarks" in os.environ.get("FACET_REQUIRE", "").split(",")
    if request.path.stem in LONG and not asked:
        pytest.skip("needs benchmarks: takes long; FACET_REQUIRE=benchmarks runs it")
