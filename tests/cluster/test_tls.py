"""A cluster with TLS on all links: it answers, and lets nobody in who has no business there."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from facet.recognition.v1 import recognition_pb2_grpc
from facet.scheduler.v1 import scheduler_pb2, scheduler_pb2_grpc
from services.common.models.repository import ModelRepository
from services.common.registry import Instance, open_registry
from services.common.security.authority import issue, make_authority
from services.common.security.files import TlsFiles, files_in
from tests.cluster.commands import Up, facet_here, says
from tests.cluster.conftest import ImageRequest
from tests.conftest import need
from tests.tools import find_tool


class Secured:
    """A `facet up --tls`."""

    def __init__(self, home: Path, up: Up) -> None:
        self.home = home
        self.port = up.port
        self.pid = up.process.pid
        self.gateway = f"localhost:{up.port}"
        self.ca = files_in(home / "tls", "ca").certificate

    def channel(self, address: str, files: TlsFiles | None) -> grpc.Channel:
        """A channel of grpcio; with the certificate in `files`, if any."""
        ca = self.ca.read_bytes()
        own = (files.key.read_bytes(), files.certificate.read_bytes()) if files else (None, None)
        credentials = grpc.ssl_channel_credentials(ca, *own)
        # A connection of its own, which channels to one address would share otherwise.
        return grpc.secure_channel(
            address, credentials, options=[("grpc.use_local_subchannel_pool", 1)]
        )

    async def instance(self, service: str) -> Instance:
        """The instance of a service that is registered."""
        registry = open_registry((self.home / "registry").as_uri())
        try:
            return (await registry.instances(service))[0]
        finally:
            await registry.close()


@pytest.fixture(scope="module")
def secured(
    digits_repository: ModelRepository, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    home = tmp_path_factory.mktemp("secured")
    up = Up(home, Path(str(digits_repository.root)), "--tls", "--shards", "1", "--gateways", "2")
    try:
        up.wait_ready()
        yield Secured(home, up)
    finally:
        assert up.end(signal.SIGTERM) == 0


def test_pictures_are_classified_over_tls(
    secured: Secured, digit_png: Callable[[int], bytes], tmp_path: Path
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(digit_png(number))
    options = ("--gateway", secured.gateway, "--tls-ca", str(secured.ca))
    done = facet_here("classify", str(tmp_path), "--json", *options)
    assert done.returncode == 0, done.stderr
    assert all(json.loads(line)["classes"] for line in done.stdout.splitlines())
    shown = facet_here("status", *options).stdout
    for service in ("gateway", "inference", "scheduler", "preprocessing", "aggregation"):
        assert service in shown


def test_the_command_line_has_a_certificate_of_its_own(secured: Secured) -> None:
    own = files_in(secured.home / "tls", "operator")
    environment = {
        "FACET_TLS_CA": str(secured.ca),
        "FACET_TLS_CERT": str(own.certificate),
        "FACET_TLS_KEY": str(own.key),
    }
    assert facet_here("wait", "--gateway", secured.gateway, **environment).returncode == 0


def test_clients_in_plain_text_are_refused(secured: Secured, digits_request: ImageRequest) -> None:
    done = facet_here("status", "--gateway", secured.gateway)
    assert done.returncode == 3
    with grpc.insecure_channel(secured.gateway) as channel:
        stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Recognize(digits_request(1), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_a_gateway_of_another_authority_is_not_believed(secured: Secured, tmp_path: Path) -> None:
    other = make_authority(tmp_path, "facet").certificate
    done = facet_here("status", "--gateway", secured.gateway, "--tls-ca", str(other))
    assert done.returncode == 3
    assert says(done, "no TLS with the gateway", "certificate")


async def test_a_certificate_of_another_authority_opens_nothing(
    secured: Secured, tmp_path: Path
) -> None:
    make_authority(tmp_path, "facet")
    stranger = issue(tmp_path, "gateway", "facet", hosts=("127.0.0.1",))
    for service in ("scheduler", "inference", "preprocessing", "aggregation"):
        address = (await secured.instance(service)).address
        for files in (stranger, None):
            with secured.channel(address, files) as channel, pytest.raises(grpc.RpcError) as caught:
                _pull(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_gateway_cannot_ask_for_work(secured: Secured) -> None:
    address = (await secured.instance("scheduler")).address
    own = files_in(secured.home / "tls", "gateway")
    with secured.channel(address, own) as channel, pytest.raises(grpc.RpcError) as caught:
        _pull(channel)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert "spiffe://facet/gateway may not call" in str(caught.value.details())
    assert "a call was refused" in (secured.home / "logs" / "scheduler-1.log").read_text()


async def test_health_is_told_in_plain_text_and_nothing_else(secured: Secured) -> None:
    instance = await secured.instance("inference")
    assert instance.health_address != instance.address
    with grpc.insecure_channel(instance.health_address) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        told = health.Check(health_pb2.HealthCheckRequest(), timeout=10)
        assert told.status == health_pb2.HealthCheckResponse.SERVING
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            list(stub.WatchShard(inference_pb2.WatchShardRequest(), timeout=10))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_two_gateways_share_a_port(secured: Secured, digits_request: ImageRequest) -> None:
    """Whichever the kernel hands a client to shows a certificate that is good for the address."""
    gateways = {
        process
        for process in psutil.Process(secured.pid).children()
        if process.cmdline()[-2:] == ["-m", "gateway"]
    }
    assert len(gateways) == 2
    with ExitStack() as open_connections:
        for _ in range(16):  # all of them at one gateway: once in 32,768 times
            channel = open_connections.enter_context(secured.channel(secured.gateway, None))
            stub = recognition_pb2_grpc.RecognitionServiceStub(channel)
            response = stub.Recognize(digits_request(1), timeout=60)
            assert response.results[0].classification.classes
        assert all(_clients_of(gateway, secured.port) for gateway in gateways)


def _clients_of(process: psutil.Process, port: int) -> int:
    """How many connections a process has at a port that it listens on."""
    return sum(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
        for each in process.net_connections("tcp")
    )


def test_grpcurl_needs_the_authority_alone(secured: Secured) -> None:
    if (binary := find_tool("grpcurl")) is None:
        need("consul", "there is no grpcurl; `make consul` builds it, too")
    command = [str(binary), "-cacert", str(secured.ca), secured.gateway, "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "facet.recognition.v1.RecognitionService" in done.stdout, done.stderr


def _pull(channel: grpc.Channel) -> None:
    stub = scheduler_pb2_grpc.SchedulerServiceStub(channel)
    list(stub.Pull(iter([scheduler_pb2.PullRequest()]), timeout=10))
