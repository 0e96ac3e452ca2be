"""Settings of traces: what they lead to, and what is wrong with them."""

import sys

import pytest

from services.common.errors import ConfigurationError
from services.common.settings import ServiceSettings, read_settings
from services.common.tracing.opening import open_trail


def settings(**given: object) -> ServiceSettings:
    return read_settings(ServiceSettings, **given)


def test_by_default_nobody_wants_to_know() -> None:
    trail = open_trail("gateway", "gateway-1", settings())
    assert trail.tracer is None
    assert not trail.active


def test_lines_of_requests_are_for_level_debug() -> None:
    trail = open_trail("gateway", "gateway-1", settings(log_level="debug"))
    assert trail.tracer is None
    assert trail.active


@pytest.mark.parametrize("traces", ["localhost:4317", "ftp://localhost", "http://", "yes"])
def test_an_address_that_is_none_is_refused(traces: str) -> None:
    with pytest.raises(ConfigurationError, match=r"such as http://localhost:4317"):
        open_trail("gateway", "gateway-1", settings(traces=traces))


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_a_share_is_between_none_and_all(ratio: float) -> None:
    with pytest.raises(ConfigurationError, match="FACET_TRACES_RATIO"):
        settings(traces_ratio=ratio)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "services.common.tracing.otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'facet\[tracing\]'"):
        open_trail("gateway", "gateway-1", settings(traces="http://localhost:4317"))
