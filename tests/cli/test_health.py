"""`facet health` against a real server."""

import asyncio
import subprocess
from functools import partial

import pytest
from grpc_health.v1 import health_pb2_grpc

from facet.cli.health import own_address
from services.common.errors import InvalidRequestError
from services.common.health import HealthServicer
from tests.cluster.commands import facet, says
from tests.ports import free_port
from tests.servers import serving


async def ask(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(partial(facet, "health", *arguments, **environment))


async def test_it_tells_whether_a_process_serves() -> None:
    health = HealthServicer([])
    add = partial(health_pb2_grpc.add_HealthServicer_to_server, health)
    async with serving(add) as running:
        done = await ask(running.address)
        assert done.returncode == 1
        assert says(done, running.address, "NOT_SERVING")
        health.set_serving(True)
        assert (await ask(running.address)).returncode == 0
        port = str(running.port)
        assert (await ask(FACET_PORT=port)).returncode == 0
        assert (await ask(FACET_PORT="1", FACET_HEALTH_PORT=port)).returncode == 0
        # A proxy is no way to a neighbour.
        assert (await ask(FACET_PORT=port, http_proxy="http://127.0.0.1:1")).returncode == 0


def test_nobody_there_is_not_healthy() -> None:
    address = f"127.0.0.1:{free_port()}"
    done = facet("health", address)
    assert done.returncode == 1
    assert says(done, address, "UNAVAILABLE")


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "127.0.0.1:50051"),
        ({"FACET_PORT": "7"}, "127.0.0.1:7"),
        ({"FACET_PORT": "7", "FACET_HEALTH_PORT": "8"}, "127.0.0.1:8"),
        ({"FACET_PORT": "7", "FACET_HEALTH_PORT": "0"}, "127.0.0.1:7"),
    ],
)
def test_the_environment_of_a_service_tells_where_it_answers(
    environment: dict[str, str], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FACET_PORT", "FACET_HEALTH_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert own_address() == address


def test_any_free_port_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACET_HEALTH_PORT", raising=False)
    monkeypatch.setenv("FACET_PORT", "0")
    with pytest.raises(InvalidRequestError, match="FACET_HEALTH_PORT"):
        own_address()


def test_help_names_it() -> None:
    assert "health" in facet("--help").stdout
    assert "HOST:PORT" in facet("health", "--help").stdout
