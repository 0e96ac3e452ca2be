"""A process of its own for the registry tests; it ends when its standard input does.

    python -m tests.common.registry.child URL register SERVICE ID
    python -m tests.common.registry.child URL campaign ROLE CANDIDATE

`register` serves grpc.health.v1, says "registered PORT" and takes the words serving,
not-serving and withdraw; `campaign` says True or False at each change.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import uvloop

from services.common.registry import Instance, Registry, open_registry

SetStatus = Callable[[str], Awaitable[None]]


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


async def _serve_health() -> tuple[int, SetStatus, Callable[[], Awaitable[None]]]:
    # Imported here: most children serve nothing and start three times as fast without.
    import grpc
    from grpc_health.v1 import health, health_pb2, health_pb2_grpc

    statuses = {
        "serving": health_pb2.HealthCheckResponse.SERVING,
        "not-serving": health_pb2.HealthCheckResponse.NOT_SERVING,
    }
    servicer = health.aio.HealthServicer()
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def set_status(word: str) -> None:
        await servicer.set("", statuses[word])

    async def stop() -> None:
        await server.stop(None)

    await set_status("serving")
    return port, set_status, stop


async def _register(registry: Registry, url: str, service: str, name: str) -> None:
    port, set_status, stop = await _serve_health() if _is_checked(url) else (1, None, None)
    registration = await registry.register(
        Instance(service, name, "127.0.0.1", port, {"zone": "a", "note": "é"})
    )
    _say(f"registered {port}")
    async for word in _words():
        if word == "withdraw":
            await registration.withdraw()
        elif set_status is not None:
            await set_status(word)
        _say(word)
    if stop is not None:
        await stop()


def _is_checked(url: str) -> bool:
    return url.startswith("consul:")


async def _campaign(registry: Registry, _: str, role: str, candidate: str) -> None:
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
        await {"register": _register, "campaign": _campaign}[what](registry, url, *names)
    finally:
        await registry.close()


if __name__ == "__main__":
    uvloop.run(_main(*sys.argv[1:]))
