"""The life of a real service process, from its start to its orderly end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from facet.cluster.v1 import cluster_pb2, cluster_pb2_grpc
from services.common.process import EXIT_CANNOT_START
from services.common.registry import Instance, Registry, open_registry
from tests.common.some_service import NAME
from tests.conftest import ROOT
from tests.ports import free_port
from tests.waiting import PATIENCE_S

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Running:
    """A process that runs some_service."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.address = f"127.0.0.1:{port}"

    async def says(self, wanted: str) -> None:
        """Wait until it says a word."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := (await self.process.stdout.readline()).decode().strip():
                if line == wanted:
                    return
        raise AssertionError(f"it ended without saying {wanted!r}: {self.log.read_text()}")

    def hears(self, word: str) -> None:
        """Tell it a word."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{word}\n".encode())

    async def ends(self) -> int:
        """Wait for its end and return the exit status."""
        return await asyncio.wait_for(self.process.wait(), PATIENCE_S)


def environment(home: Path, **settings: str) -> dict[str, str]:
    """The environment of a service with its state in `home`."""
    inherited = {name: value for name, value in os.environ.items() if "FACET_" not in name}
    return {**inherited, "FACET_HOME": str(home), **settings}


@asynccontextmanager
async def some_service(home: Path, *words: str, **settings: str) -> AsyncIterator[Running]:
    """A process for the time of the block."""
    port = free_port()
    log = home / "log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.common.some_service", *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=ROOT,
            env=environment(home, **{"FACET_PORT": str(port), **settings}),
        )
    try:
        yield Running(process, log, port)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    """The registry that services with their state in `tmp_path` use."""
    opened = open_registry((tmp_path / "registry").as_uri())
    yield opened
    await opened.close()


async def registered(registry: Registry, count: int) -> tuple[Instance, ...]:
    """Wait until so many instances are registered."""
    async with asyncio.timeout(PATIENCE_S):
        async for view in registry.watch("some"):
            if len(view.instances) == count:
                return view.instances
    raise AssertionError("the watch ended")


async def test_it_serves_when_it_is_ready_and_ends_in_order(
    tmp_path: Path, registry: Registry
) -> None:
    async with (
        some_service(tmp_path, "slow", FACET_DRAIN_S="600", FACET_NAME="some-1") as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        await running.says("starting")
        health: Any = health_pb2_grpc.HealthStub(channel)
        whole = health_pb2.HealthCheckRequest()
        for name in ("", NAME):
            request = health_pb2.HealthCheckRequest(service=name)
            answer = await health.Check(request, wait_for_ready=True, timeout=PATIENCE_S)
            assert answer.status == NOT_SERVING
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND
        assert await registry.instances("some") == ()

        watch = health.Watch(whole, timeout=PATIENCE_S)
        assert (await watch.read()).status == NOT_SERVING
        running.hears("start")
        assert (await watch.read()).status == SERVING
        (instance,) = await registered(registry, 1)
        assert instance.address == running.address
        assert instance.id.startswith("some-1-")

        call = cluster_pb2_grpc.ClusterServiceStub(channel).GetCluster(
            cluster_pb2.GetClusterRequest(), timeout=PATIENCE_S
        )
        await running.says("in hand")
        running.process.send_signal(signal.SIGTERM)
        assert (await watch.read()).status == NOT_SERVING
        await registered(registry, 0)
        await running.says("draining")
        # The watch must not hold up the end, nor the end the call.
        assert await watch.read() is grpc.aio.EOF
        assert not call.done()
        running.hears("finish")
        assert await call == cluster_pb2.GetClusterResponse()
        await running.says("closed")
        assert await running.ends() == 0


async def test_it_shows_its_services_by_reflection(tmp_path: Path, registry: Registry) -> None:
    async with some_service(tmp_path, FACET_LOG_FORMAT="json") as running:
        (instance,) = await registered(registry, 1)
        async with grpc.aio.insecure_channel(instance.address) as channel:
            stub: Any = reflection_pb2_grpc.ServerReflectionStub(
                channel  # type: ignore[arg-type]  # its type stubs know blocking channels only
            )
            call = stub.ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            answer = await call.read()
            names = {service.name for service in answer.list_services_response.service}
            assert {NAME, "grpc.health.v1.Health"} <= names
        running.process.send_signal(signal.SIGINT)
        assert await running.ends() == 0
        assert '"event": "stopped"' in running.log.read_text().splitlines()[-1]


async def test_work_that_does_not_end_is_given_up(tmp_path: Path, registry: Registry) -> None:
    async with some_service(tmp_path, FACET_DRAIN_S="0.1") as running:
        (instance,) = await registered(registry, 1)
        async with grpc.aio.insecure_channel(instance.address) as channel:
            call = cluster_pb2_grpc.ClusterServiceStub(channel).GetCluster(
                cluster_pb2.GetClusterRequest(), timeout=PATIENCE_S
            )
            await running.says("in hand")
            running.process.send_signal(signal.SIGTERM)
            with pytest.raises(grpc.aio.AioRpcError):
                await call
            assert await running.ends() == 0


async def test_a_part_that_dies_takes_the_process_with_it(
    tmp_path: Path, registry: Registry
) -> None:
    async with some_service(tmp_path) as running:
        await registered(registry, 1)
        running.hears("die")
        await registered(registry, 0)
        assert await running.ends() == 1
        assert "a part of it died" in running.log.read_text().splitlines()[-1]


async def test_it_can_be_stopped_before_it_is_ready(tmp_path: Path, registry: Registry) -> None:
    async with (
        some_service(tmp_path, "slow") as running,
        grpc.aio.insecure_channel(running.address) as channel,
    ):
        await running.says("starting")
        health: Any = health_pb2_grpc.HealthStub(channel)
        running.process.send_signal(signal.SIGTERM)
        for _ in range(3):  # it has noticed the signal when it answers what came after
            answer = await health.Check(
                health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=PATIENCE_S
            )
            assert answer.status == NOT_SERVING
        running.hears("start")
        await running.says("draining")
        assert await running.ends() == 0
        assert "serving" not in running.log.read_text()


@pytest.mark.parametrize(
    ("words", "settings", "reason"),
    [
        ([], {"FACET_PORT": "many"}, "FACET_PORT"),
        ([], {"FACET_REGISTRY": "nonsense"}, "no URL of a registry"),
        ([], {"FACET_HOST": "0.0.0.0"}, "would serve plain text to other machines"),
        ([], {"FACET_NAME": "not a name"}, "instance id"),
        (["refused"], {}, "compound eye"),
    ],
)
async def test_what_can_never_run_says_why(
    tmp_path: Path, words: list[str], settings: dict[str, str], reason: str
) -> None:
    async with some_service(tmp_path, *words, **settings) as running:
        assert await running.ends() == EXIT_CANNOT_START
        assert reason in running.log.read_text().splitlines()[-1]


async def test_a_port_that_is_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        async with some_service(tmp_path, FACET_PORT=str(port)) as running:
            assert await running.ends() == EXIT_CANNOT_START
            last = running.log.read_text().splitlines()[-1]
            assert f"127.0.0.1:{port}" in last
            assert "port in use" in last


async def test_it_ends_with_the_process_that_started_it(tmp_path: Path, registry: Registry) -> None:
    program = (
        "import subprocess, sys;"
        "child = subprocess.Popen([sys.executable, '-m', 'tests.common.some_service']);"
        "print(child.pid, flush=True); child.wait()"
    )
    parent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=ROOT,
        env=environment(tmp_path, FACET_DIE_WITH_PARENT="true"),
    )
    assert parent.stdout is not None
    child = os.pidfd_open(int(await parent.stdout.readline()))
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def note() -> None:
        loop.remove_reader(child)
        ended.set()

    loop.add_reader(child, note)
    try:
        await registered(registry, 1)
        assert not ended.is_set()
        parent.kill()
        await asyncio.wait_for(ended.wait(), PATIENCE_S)
        await registered(registry, 0)
    finally:
        loop.remove_reader(child)
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(child, signal.SIGKILL)
        os.close(child)
        with suppress(ProcessLookupError):
            parent.kill()
        await parent.communicate()
