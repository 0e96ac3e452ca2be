"""A Consul that denies what no token allows."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from services.common.errors import RegistryError
from services.common.registry import Instance, View
from tests.common.registry.helpers import OpenRegistry, until
from tests.conftest import ROOT
from tests.fixtures_consul import ConsulServer

MANAGEMENT = "3b2b1a9c-5d0e-4a52-9f7c-6a1d2f3e4b5c"
CONFIG = f"""
acl {{
  enabled = true
  default_policy = "deny"
  tokens {{ initial_management = "{MANAGEMENT}" }}
}}
"""
RULES = (ROOT / "docker" / "consul" / "facet-policy.hcl").read_text()


@pytest.fixture
def strict_consul(consul_binary: Path, tmp_path: Path) -> Iterator[ConsulServer]:
    server = ConsulServer(consul_binary, tmp_path, CONFIG)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def token(strict_consul: ConsulServer) -> str:
    _manage(strict_consul, "policy", {"Name": "facet", "Rules": RULES})
    made = _manage(strict_consul, "token", {"Policies": [{"Name": "facet"}]})
    return str(made["SecretID"])


async def test_everything_works_with_the_documented_permissions(
    strict_consul: ConsulServer, token: str, opened: OpenRegistry
) -> None:
    registry = opened(strict_consul.url(), token)
    assert await registry.instances("gateway") == ()
    await registry.put("key", b"value")
    assert await registry.get("key") == b"value"
    await registry.delete("key")
    async with (
        aclosing(registry.watch("gateway")) as views,
        aclosing(registry.campaign("scheduler", "one")) as campaign,
        aclosing(registry.watch_leader("scheduler")) as leaders,
    ):
        assert await anext(views) == View()
        await until(campaign, bool)
        await until(leaders, lambda leader: leader == "one")
        await registry.register(Instance("gateway", "g-1", "127.0.0.1", 1))
        await until(views, lambda view: len(view.instances) == 1)


async def test_without_a_token_errors_name_what_is_missing(
    strict_consul: ConsulServer, opened: OpenRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry = opened(strict_consul.url())
    with pytest.raises(RegistryError, match=r"no token given.*service:write.*facet-gateway"):
        await registry.register(Instance("gateway", "g-1", "127.0.0.1", 1))
    with pytest.raises(RegistryError, match=r"no token given.*service:read.*facet-gateway"):
        await registry.instances("gateway")
    with pytest.raises(RegistryError, match=r"key:read.*facet/key"):
        await registry.get("key")
    with pytest.raises(RegistryError, match=r"key:write.*facet/key") as caught:
        await registry.put("key", b"value")
    assert caught.value.reason == "REGISTRY_REFUSED"
    async with aclosing(registry.watch("gateway")) as views:
        assert await anext(views) == View((), reachable=False)
    assert "service:read" in caplog.text


async def test_a_token_that_consul_does_not_know_is_refused(
    strict_consul: ConsulServer, opened: OpenRegistry
) -> None:
    registry = opened(strict_consul.url(), "11111111-2222-3333-4444-555555555555")
    with pytest.raises(RegistryError, match=r"the token given.*ACL not found"):
        await registry.get("key")


async def test_a_token_file_is_read_again_when_it_changes(
    strict_consul: ConsulServer, token: str, opened: OpenRegistry, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    registry = opened(strict_consul.url(), token_file=file)
    with pytest.raises(RegistryError, match=r"FACET_CONSUL_TOKEN_FILE=.*cannot be read"):
        await registry.get("key")
    file.write_text("11111111-2222-3333-4444-555555555555\n")
    async with aclosing(registry.watch("gateway")) as views:
        assert await anext(views) == View((), reachable=False)
        file.write_text(f"{token}\n")  # what runs already goes on with it
        await until(views, lambda view: view.reachable)
        await registry.register(Instance("gateway", "g-1", "127.0.0.1", 1))
        await until(views, lambda view: len(view.instances) == 1)
        beside = tmp_path / "new"
        beside.write_text("11111111-2222-3333-4444-555555555555\n")
        beside.replace(file)
        with pytest.raises(RegistryError, match=r"the token given.*ACL not found"):
            await registry.get("key")
        file.write_text(f"{token}\n")  # by which it leaves


async def test_the_environments_token_is_not_used(
    strict_consul: ConsulServer,
    token: str,
    opened: OpenRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "11111111-2222-3333-4444-555555555555")
    assert await opened(strict_consul.url(), token).get("key") is None
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", MANAGEMENT)
    with pytest.raises(RegistryError, match="no token given"):
        await opened(strict_consul.url()).get("key")


def _manage(server: ConsulServer, what: str, data: dict[str, object]) -> dict[str, object]:
    request = urllib.request.Request(
        f"http://{server.address}/v1/acl/{what}",
        json.dumps(data).encode(),
        {"X-Consul-Token": MANAGEMENT},
        method="PUT",
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        made: dict[str, object] = json.load(answer)
    return made
