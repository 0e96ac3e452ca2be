"""Preprocessing that turns a picture's bytes around, and dies on poison.

python -m tests.gateway.decoders PORT    serves in a process of its own
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from facet.preprocessing.v1 import preprocessing_pb2, preprocessing_pb2_grpc
from gateway.pixels import PixelMemory
from gateway.preprocessing import PreprocessingClient, PreprocessingLink, connect_preprocessing
from services.common.errors import ImageError
from services.common.registry import Instance
from services.common.rpc.calls import serve_calls
from services.common.rpc.context import ServicerContext
from services.common.rpc.fleet import Fleet
from services.common.statuses import to_status
from tests.fakes import MemoryRegistry
from tests.servers import AddToServer, RunningServer, start_server

POISON = b"poison"
"""Kills whoever decodes it."""
BAD = b"bad"
"""Is no picture."""
HELD = b"held"
"""Is decoded when the gate opens."""
SHORT = b"short"
"""Is forgotten in the answer."""


class Decoder(preprocessing_pb2_grpc.PreprocessingServiceServicer):
    """Answers as the pictures say."""

    def __init__(self, die: Callable[[], Awaitable[None]]) -> None:
        self._die = die
        self.calls: list[list[bytes]] = []
        self.gate = asyncio.Event()
        self.draining = asyncio.Event()

    @property
    def add(self) -> AddToServer:
        """Adds it to a server."""
        return partial(preprocessing_pb2_grpc.add_PreprocessingServiceServicer_to_server, self)

    async def Prepare(
        self, requests: AsyncIterator[preprocessing_pb2.PrepareRequest], context: ServicerContext
    ) -> None:
        """Serve one caller."""
        await serve_calls(
            requests, context, self._answer, preprocessing_pb2.PrepareResponse, self.draining
        )

    async def _answer(
        self, request: preprocessing_pb2.PrepareRequest
    ) -> preprocessing_pb2.PrepareResponse:
        contents = list(request.images)
        self.calls.append(contents)
        if HELD in contents:
            await self.gate.wait()
        if POISON in contents:
            await self._die()
        return preprocessing_pb2.PrepareResponse(
            images=[_decode(content) for content in contents if content != SHORT]
        )


def _decode(content: bytes) -> preprocessing_pb2.PreparedImage:
    if content == BAD:
        return preprocessing_pb2.PreparedImage(error=to_status(ImageError("no picture")))
    return preprocessing_pb2.PreparedImage(pixels=content[::-1])


class Kept:
    """A decoder in this process that is started again whenever it dies, at the same port."""

    def __init__(self, registry: MemoryRegistry, name: str) -> None:
        self.deaths = 0
        self.decoder = Decoder(self._die)
        self._registry = registry
        self._name = name
        self._server: RunningServer | None = None
        self._restarting = asyncio.Lock()
        self._restarts: set[asyncio.Task[None]] = set()

    @property
    def instance(self) -> Instance:
        """As the registry names it."""
        assert self._server is not None
        return self._server.instance("preprocessing", self._name)

    async def start(self) -> None:
        """Serve, and be named by the registry."""
        self._server = await start_server(self.decoder.add)
        self._registry.enter(self.instance)

    async def restart(self) -> None:
        """Die and come back; once, however many causes there are."""
        dying = self._server
        async with self._restarting:
            if dying is not None and dying is self._server:
                self.deaths += 1
                await dying.die()
                self._server = await start_server(self.decoder.add, port=dying.port)

    async def stop(self) -> None:
        """Stop for good."""
        await asyncio.gather(*self._restarts)
        assert self._server is not None
        await self._server.die()

    async def _die(self) -> None:
        restart = asyncio.create_task(self.restart())
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)
        await asyncio.Event().wait()


@asynccontextmanager
async def decoders(registry: MemoryRegistry, *names: str) -> AsyncIterator[list[Kept]]:
    """Decoders of these names for the time of the block."""
    kept = [Kept(registry, name) for name in names]
    for each in kept:
        await each.start()
    try:
        yield kept
    finally:
        for each in kept:
            await each.stop()


@asynccontextmanager
async def client_of(
    registry: MemoryRegistry,
) -> AsyncIterator[tuple[PreprocessingClient, Fleet[PreprocessingLink]]]:
    """A client that works with all decoders that the registry names."""
    fleet: Fleet[PreprocessingLink] = Fleet(registry, "preprocessing", connect_preprocessing)
    running = asyncio.create_task(fleet.run())
    try:
        yield PreprocessingClient(fleet, PixelMemory(0)), fleet
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _serve(port: int) -> None:
    async def die() -> None:
        os._exit(1)

    running = await start_server(Decoder(die).add, port=port)
    sys.stdout.write(f"{running.port}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
