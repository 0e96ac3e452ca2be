"""The ports of a gateway."""

import pytest

from gateway.settings import GatewaySettings
from services.common.settings import read_settings


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        ({}, (50051, 0)),
        ({"PORT": "7000"}, (7000, 0)),
        ({"SHARED_PORT": "7000"}, (0, 7000)),
        ({"SHARED_PORT": "7000", "PORT": "7001"}, (7001, 7000)),
        ({"SHARED_PORT": "0", "PORT": "7001"}, (7001, 0)),
        ({"SHARED_PORT": "0"}, (50051, 0)),
    ],
)
def test_the_own_port_and_the_shared_one(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], ports: tuple[int, int]
) -> None:
    for name in ("PORT", "SHARED_PORT"):
        monkeypatch.delenv(f"FACET_{name}", raising=False)
    for name, value in given.items():
        monkeypatch.setenv(f"FACET_{name}", value)
    settings = read_settings(GatewaySettings)
    assert (settings.port, settings.shared_port) == ports
