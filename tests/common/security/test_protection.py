"""A process and its doors, by its settings: what is TLS, what is not, and what it refuses."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.settings import GatewaySettings
from services.common.errors import ConfigurationError
from services.common.registry import Registry, open_registry
from services.common.security.authority import issue
from services.common.security.protection import Protection
from services.common.settings import ServiceSettings, read_settings
from tests.common.test_process import registered, some_service
from tests.ports import free_port

SERVING = health_pb2.HealthCheckResponse.SERVING


def settings_of(lab: Path, name: str, **more: Any) -> dict[str, Any]:
    """The settings of a process with certificates."""
    files = {"tls_cert": f"{name}.pem", "tls_key": f"{name}-key.pem", "tls_ca": "ca.pem"}
    return {setting: lab / file for setting, file in files.items()} | more


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7", "::", "facet.example"])
def test_plain_text_off_loopback_is_refused(host: str, lab: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"FACET_TLS_CERT.*or FACET_INSECURE=true"):
        Protection("inference", read_settings(ServiceSettings, host=host))
    with pytest.raises(ConfigurationError, match="or FACET_PUBLIC_INSECURE=true, or FACET_INS"):
        Protection("gateway", read_settings(GatewaySettings, host=host))
    assert (
        Protection("inference", read_settings(ServiceSettings, host=host, insecure=True)).door
        is None
    )
    given = settings_of(lab, "inference", host=host)
    assert Protection("inference", read_settings(ServiceSettings, **given)).door is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_plain_text_on_loopback_is_as_ever(host: str) -> None:
    protection = Protection("inference", read_settings(ServiceSettings, host=host))
    assert protection.door is None
    assert protection.to("scheduler") is None
    assert protection.upkeep() is None
    assert protection.interceptors == ()


def test_the_public_port_has_a_certificate_of_its_own_or_none(lab: Path, tmp_path: Path) -> None:
    given = settings_of(lab, "gateway", host="10.0.0.7")
    inside = Protection("gateway", read_settings(GatewaySettings, **given))
    assert inside.door is not None
    assert inside.door.facts.uris == ("spiffe://facet/gateway",)
    assert inside.door.server_context.verify_mode is ssl.CERT_OPTIONAL
    for name in ("ca.pem", "ca-key.pem"):
        (tmp_path / name).write_bytes((lab / name).read_bytes())
    public = issue(tmp_path, "operator", "facet", hosts=("facet.example",))
    own = {"public_tls_cert": public.certificate, "public_tls_key": public.key}
    other = Protection("gateway", read_settings(GatewaySettings, **given, **own))
    assert other.door is not None
    assert other.door.facts.hosts == ("facet.example",)
    assert other.to("inference") is not None
    alone = Protection("gateway", read_settings(GatewaySettings, host="10.0.0.7", **own))
    assert alone.door is not None
    assert alone.to("inference") is None
    plain = Protection("gateway", read_settings(GatewaySettings, **given, public_insecure=True))
    assert plain.door is None
    assert plain.to("inference") is not None
    del own["public_tls_key"]
    with pytest.raises(ConfigurationError, match="FACET_PUBLIC_TLS_KEY belong together"):
        Protection("gateway", read_settings(GatewaySettings, **given, **own))


def test_identities_have_a_trust_domain(lab: Path) -> None:
    with pytest.raises(ConfigurationError, match="this process is spiffe://other/gateway"):
        Protection(
            "gateway",
            read_settings(GatewaySettings, **settings_of(lab, "gateway", trust_domain="other")),
        )
    with pytest.raises(ConfigurationError, match="FACET_TRUST_DOMAIN='no/domain' is no trust"):
        Protection("gateway", read_settings(GatewaySettings, trust_domain="no/domain"))


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    opened = open_registry((tmp_path / "registry").as_uri())
    yield opened
    await opened.close()


async def test_health_has_a_port_of_its_own_where_one_is_given(
    tmp_path: Path, registry: Registry
) -> None:
    port = free_port()
    async with some_service(tmp_path, FACET_HEALTH_PORT=str(port)) as running:
        (instance,) = await registered(registry, 1)
        assert instance.health_address == f"127.0.0.1:{port}"
        for address in (instance.health_address, instance.address):
            async with grpc.aio.insecure_channel(address) as channel:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
            assert answer.status == SERVING
        running.process.terminate()
        assert await running.process.wait() == 0
