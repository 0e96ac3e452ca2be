"""Real gRPC servers inside the test's own process."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.common.http2.server import Server
from services.common.registry import Instance

AddToServer = Callable[[Server], None]


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens on the loopback address."""

    server: Server
    port: int

    @property
    def address(self) -> str:
        """host:port"""
        return f"127.0.0.1:{self.port}"

    def instance(self, service: str, name: str) -> Instance:
        """The server as an instance for a registry."""
        return Instance(service, name, "127.0.0.1", self.port)

    async def die(self) -> None:
        """Break all calls at once, as a process that dies does."""
        await self.server.stop(0)


async def start_server(*add: AddToServer, port: int = 0) -> RunningServer:
    """Return a running server; `add` are the generated functions bound to servicers."""
    server = Server()
    for each in add:
        each(server)
    port = server.listen("127.0.0.1", port)
    await server.start()
    return RunningServer(server, port)


@asynccontextmanager
async def serving(*add: AddToServer, port: int = 0) -> AsyncIterator[RunningServer]:
    """A server for the time of the block."""
    running = await start_server(*add, port=port)
    try:
        yield running
    finally:
        await running.die()
