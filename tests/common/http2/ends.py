"""Servers and channels, of ours and of grpcio, with the same service on them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, NoReturn, Protocol

import grpc

from services.common.http2.channel import Channel
from services.common.http2.connection import Connection
from services.common.http2.interceptor import Interceptor
from services.common.http2.limits import Limits
from services.common.http2.server import Server
from tests.waiting import until

Metadata = Iterable[tuple[str, str | bytes]]

SERVICE: Final = "facet.test.Echo"
NO_LIMITS: Final = Limits()
UNLIMITED: Final = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.http2.min_ping_interval_without_data_ms", 1),
    ("grpc.http2.max_ping_strikes", 0),
)


class Context(Protocol):
    """What the contexts of both have in common."""

    async def write(self, response: bytes) -> None:
        """Send a response."""

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Metadata = (),
    ) -> NoReturn:
        """End the call."""

    def time_remaining(self) -> float | None:
        """Seconds until the deadline."""

    def invocation_metadata(self) -> Any:
        """What the caller sent along."""


class Echo:
    """A service without messages of its own: bytes in, bytes out."""

    def __init__(self) -> None:
        self.running = 0
        """Handlers that have begun and not ended."""
        self.cancelled = 0
        self.received = 0
        """Requests of streams."""
        self.sent = 0
        """Responses of `flood`."""
        self.gate = asyncio.Event()
        """Opens `wait` and `gated`."""

    async def say(self, request: bytes, context: Context) -> bytes:
        """Say it once."""
        return request

    async def wait(self, request: bytes, context: Context) -> bytes:
        """Say it once the gate is open."""
        self.running += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return request

    async def repeat(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Say it three times."""
        for _ in range(3):
            yield request

    async def gather(self, requests: AsyncIterator[bytes], context: Context) -> bytes:
        """Say at the end how much there was."""
        sizes = [len(request) async for request in requests]
        return b"%d in %d" % (sum(sizes), len(sizes))

    async def talk(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer each request."""
        self.running += 1
        try:
            async for request in requests:
                self.received += 1
                await context.write(request)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def gated(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Read nothing until the gate is open, then answer each request."""
        await self.gate.wait()
        await self.talk(requests, context)

    async def first(self, requests: AsyncIterator[bytes], context: Context) -> None:
        """Answer the first request and end, whatever is still to come."""
        async for request in requests:
            await context.write(request)
            return

    async def flood(self, request: bytes, context: Context) -> None:
        """Say it without end."""
        self.running += 1
        try:
            while True:
                await context.write(request)
                self.sent += 1
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1

    async def fail(self, request: bytes, context: Context) -> bytes:
        """Have a fault."""
        raise KeyError("a fault")

    async def abort(self, request: bytes, context: Context) -> bytes:
        """End with a status and trailing metadata."""
        trailing = (("word", "a value"), ("raw-bin", b"\0\xff"), ("grpc-status-details-bin", b"d"))
        await context.abort(grpc.StatusCode.NOT_FOUND, "not hére, 100 %\n", trailing)

    async def left(self, request: bytes, context: Context) -> bytes:
        """Say how many seconds are left."""
        return repr(context.time_remaining()).encode()

    async def metadata(self, request: bytes, context: Context) -> bytes:
        """Say what came along under "word" and "raw-bin"."""
        sent: dict[str, str | bytes] = dict(context.invocation_metadata())
        return repr((sent.get("word"), sent.get("raw-bin"))).encode()

    @property
    def handlers(self) -> dict[str, Any]:
        """The methods."""
        one, many = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        return {
            "Say": one(self.say, _same, _same),
            "Wait": one(self.wait, _same, _same),
            "Fail": one(self.fail, _same, _same),
            "Abort": one(self.abort, _same, _same),
            "Left": one(self.left, _same, _same),
            "Metadata": one(self.metadata, _same, _same),
            "Repeat": grpc.unary_stream_rpc_method_handler(self.repeat, _same, _same),
            "Flood": grpc.unary_stream_rpc_method_handler(self.flood, _same, _same),
            "Gather": grpc.stream_unary_rpc_method_handler(self.gather, _same, _same),
            "Talk": many(self.talk, _same, _same),
            "Gated": many(self.gated, _same, _same),
            "First": many(self.first, _same, _same),
        }


def _same(message: bytes) -> bytes:
    return message


class Methods:
    """The service as callers see it, over a channel of either kind."""

    def __init__(self, channel: Any) -> None:
        def path(name: str) -> tuple[Any, ...]:
            return f"/{SERVICE}/{name}", _same, _same

        self.channel = channel
        self.say = channel.unary_unary(*path("Say"))
        self.wait = channel.unary_unary(*path("Wait"))
        self.fail = channel.unary_unary(*path("Fail"))
        self.abort = channel.unary_unary(*path("Abort"))
        self.left = channel.unary_unary(*path("Left"))
        self.metadata = channel.unary_unary(*path("Metadata"))
        self.missing = channel.unary_unary(*path("Missing"))
        self.repeat = channel.unary_stream(*path("Repeat"))
        self.flood = channel.unary_stream(*path("Flood"))
        self.gather = channel.stream_unary(*path("Gather"))
        self.talk = channel.stream_stream(*path("Talk"))
        self.gated = channel.stream_stream(*path("Gated"))
        self.first = channel.stream_stream(*path("First"))


class Ends:
    """Both ends of a connection in this process."""

    def __init__(
        self,
        echo: Echo,
        address: str,
        server: Server | None,
        channel: Channel | None,
        call: Methods,
    ) -> None:
        self.echo = echo
        self.address = address
        self.server = server
        """Where it is ours."""
        self.channel = channel
        """Where it is ours."""
        self.call = call

    @property
    def connections(self) -> list[Connection]:
        """Those of ours, at both ends."""
        return [*connections_of(self.server), *connections_of(self.channel)]

    async def nothing_left(self) -> None:
        """Wait until no stream is open at an end of ours and no handler runs."""
        await until(lambda: not any(each.streams for each in self.connections))
        await until(lambda: self.echo.running == 0)


def connections_of(end: Server | Channel | None) -> list[Connection]:
    """The connections of an end of ours."""
    if isinstance(end, Server):
        return list(end._connections)
    if isinstance(end, Channel) and end._connection is not None:
        return [end._connection]
    return []


@asynccontextmanager
async def our_server(
    echo: Echo,
    *,
    max_message_bytes: int = -1,
    port: int = 0,
    interceptors: Sequence[Interceptor] = (),
    limits: Limits = NO_LIMITS,
) -> AsyncIterator[tuple[Server, str]]:
    """A server of ours and its address."""
    server = Server(max_message_bytes)
    server.guard(interceptors, limits)
    server.add_registered_method_handlers(SERVICE, echo.handlers)
    port = server.listen("127.0.0.1", port)
    await server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)
        assert not server._connections
        assert not server._calls


@asynccontextmanager
async def their_server(echo: Echo) -> AsyncIterator[str]:
    """The address of a server of grpcio."""
    server = grpc.aio.server(options=UNLIMITED)
    handler = grpc.method_handlers_generic_handler(SERVICE, echo.handlers)
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def their_channel(address: str, *options: tuple[str, Any], **named: Any) -> grpc.aio.Channel:
    """A channel of grpcio with a connection of its own."""
    own = ("grpc.use_local_subchannel_pool", 1)
    return grpc.aio.insecure_channel(address, options=[*UNLIMITED, own, *options], **named)


@asynccontextmanager
async def both_ends(kind: str) -> AsyncIterator[Ends]:
    """A channel and a server, as in "ours to theirs"."""
    echo = Echo()
    client, _, serving = kind.partition(" to ")
    async with AsyncExitStack() as stack:
        server = None
        if serving == "ours":
            server, address = await stack.enter_async_context(our_server(echo))
        else:
            address = await stack.enter_async_context(their_server(echo))
        channel: Any = Channel(address) if client == "ours" else their_channel(address)
        await stack.enter_async_context(channel)
        ours = channel if client == "ours" else None
        yield Ends(echo, address, server, ours, Methods(channel))
