"""A Consul that lets nobody in without certificate and token, and a cluster with TLS on it."""

import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from facet.launcher.plan import ClusterPlan
from facet.recognition.v1 import recognition_pb2_grpc
from services.common.errors import FacetError
from services.common.registry import Instance, open_registry
from services.common.security.files import files_in
from services.common.security.lab import make_lab
from services.common.settings import CommonSettings, read_settings
from tests.cluster.conftest import ImageRequest
from tests.cluster.running import run
from tests.conftest import ROOT
from tests.fixtures_consul import ConsulServer
from tests.ports import free_port

MANAGEMENT = "3b2b1a9c-5d0e-4a52-9f7c-6a1d2f3e4b5c"
CONFIG = """
acl {{
  enabled = true
  default_policy = "deny"
  tokens {{
    initial_management = "{token}"
    agent = "{token}"
  }}
}}
ports {{ https = {port} }}
tls {{
  defaults {{
    ca_file = "{folder}/ca.pem"
    cert_file = "{folder}/consul.pem"
    key_file = "{folder}/consul-key.pem"
    verify_incoming = true
  }}
}}
"""


class StrictConsul:
    """Its API as an administrator uses it."""

    def __init__(self, port: int, folder: Path) -> None:
        self.folder = folder
        self.url = f"consuls://127.0.0.1:{port}"
        self._base = f"https://127.0.0.1:{port}/v1"
        own = files_in(folder, "operator")
        context = ssl.create_default_context(cafile=own.ca)
        context.load_cert_chain(own.certificate, own.key)
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )

    def ask(self, path: str, data: dict[str, object] | None = None) -> Any:
        """GET, or PUT where there are data."""
        request = urllib.request.Request(
            self._base + path,
            json.dumps(data).encode() if data is not None else None,
            {"X-Consul-Token": MANAGEMENT},
            method="GET" if data is None else "PUT",
        )
        with self._opener.open(request, timeout=10) as answer:
            return json.load(answer)

    def settings(self, service: str = "operator") -> dict[str, str]:
        """Environment by which a process reaches it, but for the token."""
        own = files_in(self.folder, service)
        return {
            "FACET_REGISTRY": self.url,
            "FACET_CONSUL_CA": str(own.ca),
            "FACET_CONSUL_CERT": str(own.certificate),
            "FACET_CONSUL_KEY": str(own.key),
        }


@pytest.fixture(scope="module")
def consul(consul_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StrictConsul]:
    folder = tmp_path_factory.mktemp("certificates")
    make_lab(folder, "facet")
    port = free_port()
    config = CONFIG.format(token=MANAGEMENT, folder=folder, port=port)
    server = ConsulServer(consul_binary, tmp_path_factory.mktemp("consul"), config)
    server.start()
    yield StrictConsul(port, folder)
    server.stop()


@pytest.fixture(scope="module")
def token_file(consul: StrictConsul, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A token that may do what docker/consul/facet-policy.hcl says, in a file."""
    rules = (ROOT / "docker" / "consul" / "facet-policy.hcl").read_text()
    consul.ask("/acl/policy", {"Name": "facet", "Rules": rules})
    token = consul.ask("/acl/token", {"Policies": [{"Name": "facet"}]})["SecretID"]
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{token}\n")
    return file


def test_a_cluster_registers_elects_and_answers(
    consul: StrictConsul,
    token_file: Path,
    make_plan: Callable[..., ClusterPlan],
    digits_request: ImageRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {**consul.settings(), "FACET_CONSUL_TOKEN_FILE": str(token_file)}
    for name, value in settings.items():  # the launcher looks for the gateway there, too
        monkeypatch.setenv(name, value)
    plan = make_plan(settings=settings, instances={"inference": 1}, tls=consul.folder)
    with run(plan) as running:
        trusted = grpc.ssl_channel_credentials((consul.folder / "ca.pem").read_bytes())
        with grpc.secure_channel(running.gateway, trusted) as channel:
            stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
            response = stub.Recognize(digits_request(4), timeout=60)
        assert all(result.classification.classes for result in response.results)
        for service in ("gateway", "preprocessing", "scheduler", "inference", "aggregation"):
            (entry,) = consul.ask(f"/health/service/facet-{service}")
            (check,) = [each for each in entry["Checks"] if each["ServiceName"]]
            health = entry["Service"]["Meta"]["health_port"]
            definition = consul.ask("/agent/checks")[check["CheckID"]]
            assert definition["Type"] == "grpc"
            assert health != str(entry["Service"]["Port"])
            # Consul itself has looked, and was answered where no certificate is asked for.
            passed = until_checked(consul, check["CheckID"])
            assert f"127.0.0.1:{health}" in passed["Output"]
    assert set(consul.ask("/catalog/services")) == {"consul"}


def until_checked(consul: StrictConsul, check: str) -> Any:
    """Return the check once Consul has made it."""
    for _ in range(100):
        if found := consul.ask("/agent/checks")[check]["Output"]:
            return {"Output": found}
        threading.Event().wait(0.1)
    raise AssertionError("Consul never looked")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"FACET_CONSUL_TOKEN_FILE": "/none/at/all"}, "FACET_CONSUL_TOKEN_FILE=/none/at/all"),
        ({"FACET_CONSUL_CA": ""}, "its certificate is refused"),
        ({"FACET_CONSUL_CERT": "", "FACET_CONSUL_KEY": ""}, "cannot be reached"),
        ({"FACET_CONSUL_KEY": ""}, "FACET_CONSUL_CERT and FACET_CONSUL_KEY belong together"),
        ({"FACET_REGISTRY": "consul://127.0.0.1:1"}, "consuls://host:port"),
    ],
)
async def test_who_cannot_come_in_is_told_why(
    consul: StrictConsul, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    for name, value in {**consul.settings("aggregation"), **settings}.items():
        monkeypatch.setenv(name, value)
    given = read_settings(CommonSettings)
    with pytest.raises(FacetError) as raised:
        await _register(given)
    assert said in str(raised.value)


async def _register(given: CommonSettings) -> None:
    """Open the registry and register, as a process does when it starts."""
    registry = open_registry(given.registry_url, given.consul_access)
    try:
        await registry.register(Instance("aggregation", "a-1", "127.0.0.1", 1))
    finally:
        await registry.close()


def test_a_process_that_cannot_come_in_ends_and_says_why(
    consul: StrictConsul, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "services.aggregation"],
        env={**os.environ, **consul.settings("aggregation"), "FACET_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
    )
    assert done.returncode != 0
    assert "no token given" in done.stderr
    assert "Traceback" not in done.stderr
