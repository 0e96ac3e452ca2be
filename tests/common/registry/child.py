"""A process of its own for the registry tests; it ends when its standard input does.

    python -m tests.common.registry.child URL register SERVICE ID
    python -m tests.common.registry.child URL campaign ROLE CANDIDATE

`register` serves grpc.health.v1, says "registered PORT" and takes the words serving,
not-serving and withdraw; `campaign` says True or False at each change.
"""

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.common.registry import Instance, Registry, open_registry

_STATUSES = {
    "serving": health_pb2.HealthCheckResponse.SERVING,
    "not-serving": health_pb2.HealthCheckResponse.NOT_SERVING,
}


async def _words() -> AsyncIterator[str]:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    while word := (await reader.readline()).decode().strip():
        yield word


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _register(registry: Registry, service: str, name: str) -> None:
    servicer = health.aio.HealthServicer()
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    await servicer.set("", _STATUSES["serving"])
    registration = await registry.register(
        Instance(service, name, "127.0.0.1", port, {"zone": "a", "note": "é"})
    )
    _say(f"registered {port}")
    async for word in _words():
        if word == "withdraw":
            await registration.withdraw()
        else:
            await servicer.set("", _STATUSES[word])
        _say(word)
    await server.stop(None)


async def _campaign(registry: Registry, role: str, candidate: str) -> None:
    async def tell() -> None:
        async for leads in registry.campaign(role, candidate):
            _say(leads)

    telling = asyncio.create_task(tell())
    async for _ in _words():
        pass
    telling.cancel()
    await asyncio.wait([telling])


async def _main(url: str, what: str, *names: str) -> None:
    registry = open_registry(url)
    try:
        await {"register": _register, "campaign": _campaign}[what](registry, *names)
    finally:
        await registry.close()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
