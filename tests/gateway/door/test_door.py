"""The door of a gateway, with a whole cluster behind it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from facet.cluster.v1 import cluster_pb2
from facet.recognition.v1 import recognition_pb2
from gateway.__main__ import Gateway
from gateway.door.door import Door
from gateway.door.scopes import NEEDED, Access, needed
from gateway.settings import GatewaySettings
from services.common.credentials.api_keys import ApiKey, new_key
from services.common.credentials.key_file import write_keys
from services.common.credentials.scopes import Scope
from services.common.errors import ConfigurationError, UnauthenticatedError
from services.common.health import HealthServicer
from services.common.http2.server import Server
from services.common.models.repository import ModelRepository
from services.common.process import Context
from services.common.registry import Instance
from services.common.settings import read_settings
from services.common.statuses import from_status
from tests.fakes import MemoryRegistry
from tests.gateway.door.issuer import token, token_settings
from tests.gateway.whole import Whole, png, request_for, scores
from tests.in_process import running_service
from tests.inference.models import repository_in
from tests.leaks import no_task_left  # noqa: F401
from tests.reasons import reason_of_call
from tests.waiting import PATIENCE_S, until

pytestmark = pytest.mark.usefixtures("no_task_left")

RECOGNIZE = "/facet.recognition.v1.RecognitionService/Recognize"
CLUSTER = "/facet.cluster.v1.ClusterService/GetCluster"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


class Keys:
    """A file of keys."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "keys.json"
        self.kept: list[ApiKey] = []
        self.recognise = self.add("acme", Scope.RECOGNISE)
        self.admin = self.add("ops", Scope.ADMIN)
        self.both = self.add("both", Scope.RECOGNISE, Scope.ADMIN)
        self.expired = self.add("late", Scope.RECOGNISE, expires=datetime(2020, 1, 1, tzinfo=UTC))

    def add(self, tenant: str, *scopes: Scope, expires: datetime | None = None) -> str:
        """Make one more key."""
        text, key = new_key(tenant, scopes, expires)
        self.kept.append(key)
        write_keys(self.file, self.kept)
        return text

    def revoke(self, tenant: str) -> None:
        """Take a tenant's keys back."""
        self.kept = [key for key in self.kept if key.tenant != tenant]
        write_keys(self.file, self.kept)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


@pytest.fixture
async def guarded(keys: Keys, tmp_path: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a gateway without a cluster that asks for keys or tokens."""
    settings = GatewaySettings(port=0, api_keys=keys.file, **token_settings(tmp_path))
    async with running_service("gateway", Gateway, settings, MemoryRegistry()) as running:
        health = HealthServicer(["a"])
        health_pb2_grpc.add_HealthServicer_to_server(health, running._server)  # type: ignore[arg-type]
        async with grpc.aio.insecure_channel(running.instance.address) as channel:
            yield channel


def bare(channel: grpc.aio.Channel, path: str) -> Any:
    """A method whose messages are bytes."""
    return channel.unary_unary(path)


async def outcome(channel: grpc.aio.Channel, path: str, *metadata: tuple[str, str]) -> str:
    """The reason for which a call was refused, or its code: the handlers here have nothing."""
    try:
        await bare(channel, path)(b"", metadata=metadata, timeout=PATIENCE_S)
    except grpc.aio.AioRpcError as error:
        if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            return reason_of_call(error)
        return error.code().name
    return "OK"


async def test_credentials_and_what_they_open(guarded: grpc.aio.Channel, keys: Keys) -> None:
    def bearer(credential: str) -> tuple[str, str]:
        return ("authorization", f"Bearer {credential}")

    let_in = "INVALID_ARGUMENT"  # an empty request
    cases: list[tuple[str, tuple[tuple[str, str], ...], str]] = [
        (RECOGNIZE, (), "CREDENTIALS_MISSING"),
        (CLUSTER, (), "CREDENTIALS_MISSING"),
        (RECOGNIZE, (("x-api-key", keys.recognise),), let_in),
        (RECOGNIZE, (bearer(keys.recognise),), let_in),
        (RECOGNIZE, (("authorization", f"bearer {keys.both}"),), let_in),
        (RECOGNIZE, (bearer(token()),), let_in),
        (RECOGNIZE, (("x-api-key", token()),), let_in),
        (RECOGNIZE, (("x-api-key", keys.admin),), "SCOPE_MISSING"),
        (CLUSTER, (("x-api-key", keys.recognise),), "SCOPE_MISSING"),
        (CLUSTER, (bearer(token()),), "SCOPE_MISSING"),
        (CLUSTER, (bearer(token(scope="admin")),), "OK"),
        (CLUSTER, (("x-api-key", keys.admin),), "OK"),
        (RECOGNIZE, (("x-api-key", keys.expired),), "CREDENTIALS_EXPIRED"),
        (RECOGNIZE, (bearer(token(exp=1)),), "CREDENTIALS_EXPIRED"),
        (RECOGNIZE, (("x-api-key", keys.recognise[:-1]),), "CREDENTIALS_INVALID"),
        (RECOGNIZE, (bearer("nonsense"),), "CREDENTIALS_INVALID"),
        (RECOGNIZE, (("authorization", f"Basic {keys.recognise}"),), "CREDENTIALS_INVALID"),
        (RECOGNIZE, (bearer("nonsense"), ("x-api-key", keys.recognise)), "CREDENTIALS_INVALID"),
    ]
    for path, metadata, expected in cases:
        assert await outcome(guarded, path, *metadata) == expected, (path, expected)


async def test_health_is_open_and_what_is_not_in_the_table_is_closed(
    guarded: grpc.aio.Channel, keys: Keys
) -> None:
    stub: Any = health_pb2_grpc.HealthStub(guarded)
    answer = await stub.Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert needed(REFLECTION) is Access.ANY
    assert needed("/facet.training.v1.TrainingService/Run") is Access.CLOSED


async def test_a_refusal_quotes_no_credential(guarded: grpc.aio.Channel, keys: Keys) -> None:
    for path, credential in [
        (CLUSTER, keys.recognise),
        (RECOGNIZE, keys.expired),
        (RECOGNIZE, keys.recognise + "x"),
        (RECOGNIZE, token(aud="else")),
    ]:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await bare(guarded, path)(b"", metadata=(("x-api-key", credential),))
        said = repr((raised.value.details(), tuple(raised.value.trailing_metadata())))
        assert credential[20:] not in said


async def test_the_file_is_read_again(
    guarded: grpc.aio.Channel, keys: Keys, capfd: pytest.CaptureFixture[str]
) -> None:
    async def becomes(credential: str, expected: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await outcome(guarded, CLUSTER, ("x-api-key", credential)) != expected:
                pass

    later = keys.add("later", Scope.ADMIN)
    await becomes(later, "OK")
    keys.revoke("ops")
    await becomes(keys.admin, "CREDENTIALS_INVALID")
    keys.file.write_text("{")
    said = ""

    def broken() -> bool:
        nonlocal said
        said += "".join(capfd.readouterr())
        return "no list of API keys" in said

    await until(broken)
    assert await outcome(guarded, CLUSTER, ("x-api-key", later)) == "OK"
    assert later not in said
    keys.revoke("later")
    await becomes(later, "CREDENTIALS_INVALID")


def served_methods(keys: Keys) -> set[str]:
    """The paths of all methods of a gateway."""
    server = Server()
    context = Context(Instance("gateway", "g", "127.0.0.1", 1), MemoryRegistry())
    gateway = Gateway(GatewaySettings(port=0, api_keys=keys.file), context)
    for each in gateway.servicers:
        each.add_to_server(each.servicer, server)
    return set(server.handlers)


async def test_every_public_method_asks_for_a_scope(keys: Keys) -> None:
    methods = served_methods(keys)
    assert {RECOGNIZE, CLUSTER} <= methods
    assert {path: needed(path) for path in methods if not isinstance(needed(path), Scope)} == {}
    assert {path[1:].rpartition("/")[0] for path in methods} | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    } == NEEDED.keys()


async def test_without_configuration_there_is_nothing_at_the_door() -> None:
    door = Door(GatewaySettings(port=0))
    assert door.interceptors == ()
    assert door.watchers() == []
    door.charge(1_000_000)


@pytest.fixture
async def cluster(
    tmp_path: Path, keys: Keys
) -> AsyncIterator[tuple[Whole, Callable[..., Any], Path]]:
    """A whole cluster behind a door with quotas; a client by key, and the file of quotas."""
    quotas = tmp_path / "quotas.toml"
    quotas.write_text("")
    repository: ModelRepository = repository_in(tmp_path)
    async with Whole(repository) as whole:
        shard = await whole.shard()
        await whole.others()
        client = await whole.gateway(api_keys=keys.file, quotas=quotas)
        watch = client.cluster.WatchCluster(
            cluster_pb2.WatchClusterRequest(), metadata=(("x-api-key", keys.both),)
        )
        async for response in watch:
            if not response.cluster.missing:
                break
        watch.cancel()

        async def recognize(key: str, *values: int, **more: Any) -> Any:
            request = request_for(*(png(value) for value in values))
            metadata = (("x-api-key", key), *more.get("metadata", ()))
            return await client.recognition.Recognize(
                request, metadata=metadata, timeout=PATIENCE_S
            )

        recognize.client = client  # type: ignore[attr-defined]
        yield whole, recognize, quotas
        await until(lambda: shard.device.load.outstanding_images == 0)


async def test_the_scheduler_knows_the_tenant_by_the_credential_alone(
    cluster: tuple[Whole, Callable[..., Any], Path], keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, recognize, _ = cluster
    seen: list[str] = []
    enqueue = whole.core.enqueue

    def watch(pieces: Any, *arguments: Any) -> Any:
        pieces = list(pieces)
        seen.extend(piece.tenant for piece in pieces)
        return enqueue(pieces, *arguments)

    monkeypatch.setattr(whole.core, "enqueue", watch)
    for key in (keys.recognise, keys.both):
        response = await recognize(key, 50, 51, metadata=(("tenant", "other"),))
        assert [len(scores(result)) > 0 for result in response.results] == [True, True]
    assert seen == ["acme", "both"]


async def test_quotas_are_charged_by_image_and_by_request_of_a_stream(
    cluster: tuple[Whole, Callable[..., Any], Path], keys: Keys
) -> None:
    _, recognize, quotas = cluster
    quotas.write_text("[tenants.acme]\nimages_per_s = 0.001\nburst = 4")

    async def limited() -> grpc.aio.AioRpcError:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await recognize(keys.recognise, 50)
                except grpc.aio.AioRpcError as error:
                    return error

    error = await limited()
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of_call(error) == "QUOTA_EXCEEDED"
    await recognize(keys.both, 50)  # another tenant
    stub = recognize.client.recognition  # type: ignore[attr-defined]
    call = stub.StreamRecognize(metadata=(("x-api-key", keys.recognise),), timeout=PATIENCE_S)
    await call.write(recognition_pb2.StreamRecognizeRequest(id="1", request=request_for(png(5))))
    refused = from_status((await call.read()).error)
    assert refused.reason == "QUOTA_EXCEEDED"
    assert 500 < getattr(refused, "retry_after_s", 0) <= 1_000
    call.cancel()


async def test_what_the_cluster_refuses_is_not_charged(tmp_path: Path, keys: Keys) -> None:
    quotas = tmp_path / "quotas.toml"
    quotas.write_text("[tenants.both]\nimages_per_s = 0.001\nburst = 2")
    async with Whole(repository_in(tmp_path)) as whole:
        await whole.shard()
        await whole.others()
        options = {"api_keys": keys.file, "quotas": quotas, "max_queued_images": 1}
        client = await whole.gateway(**options)
        key = (("x-api-key", keys.both),)
        watch = client.cluster.WatchCluster(cluster_pb2.WatchClusterRequest(), metadata=key)
        async for response in watch:
            if not response.cluster.missing:
                break
        watch.cancel()

        async def reason(images: int) -> str:
            request = request_for(*[png(7)] * images)
            try:
                await client.recognition.Recognize(request, metadata=key, timeout=PATIENCE_S)
            except grpc.aio.AioRpcError as error:
                return reason_of_call(error)
            return ""

        outcomes = [await reason(images) for images in (2, 2, 1, 1, 1)]
        assert outcomes == ["OVERLOADED", "OVERLOADED", "", "", "QUOTA_EXCEEDED"]


async def test_a_stream_does_not_outlive_its_credential(
    cluster: tuple[Whole, Callable[..., Any], Path], keys: Keys
) -> None:
    _, recognize, _ = cluster
    stub = recognize.client.recognition  # type: ignore[attr-defined]
    call = stub.StreamRecognize(metadata=(("x-api-key", keys.recognise),), timeout=PATIENCE_S)
    question = recognition_pb2.StreamRecognizeRequest(id="1", request=request_for(png(5)))
    await call.write(question)
    assert not (await call.read()).HasField("error")
    keys.revoke("acme")
    async with asyncio.timeout(PATIENCE_S):
        while True:
            await call.write(question)
            if (answer := await call.read()).HasField("error"):
                break
    assert isinstance(from_status(answer.error), UnauthenticatedError)
    call.cancel()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"api_keys": "missing.json"}, "cannot read the API keys in missing.json: No such file"),
        ({"quotas": "missing.toml"}, "cannot read the quotas in missing.toml: No such file"),
        ({"jwt_keys": "x"}, "FACET_JWT_KEYS needs FACET_JWT_ISSUER and FACET_JWT_AUDIENCE"),
    ],
)
def test_a_gateway_does_not_start_with_half_a_door(given: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Door(read_settings(GatewaySettings, port=0, **given))
