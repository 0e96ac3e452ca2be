"""A gRPC channel on the event loop: one connection to one server, made anew when it is lost."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self

import grpc

from services.common.http2.client_call import Call, ClientStream
from services.common.http2.connection import Connection
from services.common.http2.frames import MAX_WINDOW, PREFACE, header_frames
from services.common.http2.headers import Header, encode_metadata, encode_timeout, header_block
from services.common.http2.messages import ACCEPTED
from services.common.http2.stream import StreamFailedError
from services.common.http2.tls import ClientTls

CONNECT_WITHIN_S: Final = 4.0
"""For the socket and the first word of the server; a frozen one has only a socket."""
PING_AFTER_S: Final = 2.0
"""A connection on which nothing came for so long is tried by a ping,"""
PONG_WITHIN_S: Final = 2.0
"""and lost when that is not answered within this."""
UNACKNOWLEDGED_S: Final = 2.0
"""A connection is lost, too, when the server's kernel does not take what was sent for so long. A
process that stands still may need the patience of the ping; its machine takes bytes all the same,
unless it cannot be reached."""

Metadata = Iterable[tuple[str, str | bytes]]
MultiCallable = Callable[..., Call[Any]]


class Channel:
    """Calls to the server at host:port. What stubs that code generated are given."""

    def __init__(self, address: str, tls: ClientTls | None = None) -> None:
        """Without `tls` the connection is plain text."""
        self._tls = tls
        self._scheme = b"http" if tls is None else b"https"
        self._host, _, port = address.rpartition(":")
        self._host = self._host.strip("[]")
        self._port = int(port)
        self._address = address
        self._connection: ClientConnection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._retired: set[ClientConnection] = set()
        """Connections that take no new calls and still have some."""
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all calls and the connection; there are no new ones."""
        self._closed = True
        if (connecting := self._connecting) is not None:
            connecting.cancel()
            await asyncio.wait([connecting])
        for connection in (self._connection, *self._retired):
            if connection is not None:
                connection.close()

    # What stubs call.

    def unary_unary(self, path: str, *serializers: Any, **named: Any) -> MultiCallable:
        """Return a callable for a method of one request and one response."""
        return self._callable(path, _one, *serializers, **named)

    def unary_stream(self, path: str, *serializers: Any, **named: Any) -> MultiCallable:
        """Return a callable for a method of one request and many responses."""
        return self._callable(path, _one, *serializers, **named)

    def stream_unary(self, path: str, *serializers: Any, **named: Any) -> MultiCallable:
        """Return a callable for a method of many requests and one response."""
        return self._callable(path, _many, *serializers, **named)

    def stream_stream(self, path: str, *serializers: Any, **named: Any) -> MultiCallable:
        """Return a callable for a method of many requests and many responses."""
        return self._callable(path, _many, *serializers, **named)

    def _callable(
        self,
        path: str,
        stream: Callable[[Any, Callable[[Any], bytes]], AsyncGenerator[bytes, None] | None],
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = True,
    ) -> MultiCallable:
        def call(
            request: Any = None, *, timeout: float | None = None, metadata: Metadata = ()
        ) -> Call[Any]:
            headers = [
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":path", path.encode()),
                (b":authority", self._address.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"grpc-accept-encoding", ACCEPTED.encode()),
                *encode_metadata(metadata),
            ]
            if timeout is not None:
                headers.append((b"grpc-timeout", encode_timeout(timeout)))
            requests = stream(request, request_serializer)
            return Call(self, headers, requests, request_serializer, response_deserializer, timeout)

        return call

    # For calls.

    async def open(self, headers: list[Header]) -> ClientStream:
        """Begin a call; raises StreamFailedError.

        It waits where the server takes no more calls at the moment.
        """
        connection = await self.connection()
        while connection.full:
            await connection.room()
            connection = await self.connection()
        return connection.open(headers)

    async def connection(self) -> "ClientConnection":
        """Return the connection, made if there is none; raises StreamFailedError."""
        if self._closed:
            raise StreamFailedError(grpc.StatusCode.CANCELLED, "the channel is closed")
        if self._connection is not None and self._connection.usable:
            return self._connection
        if (connecting := self._connecting) is None:
            connecting = self._connecting = asyncio.create_task(self._connect())
        # All who wait share the attempt, and its failure; none of them ends it.
        await asyncio.wait([connecting])
        if connecting is self._connecting:
            self._connecting = None
        if self._closed or connecting.cancelled():
            raise StreamFailedError(grpc.StatusCode.CANCELLED, "the channel is closed")
        if isinstance(error := connecting.exception(), StreamFailedError):
            raise error.again()
        connecting.result()
        if self._connection is None or not self._connection.usable:
            raise StreamFailedError(grpc.StatusCode.UNAVAILABLE, "the server is going away")
        return self._connection

    async def _connect(self) -> None:
        """Make the connection; raises StreamFailedError."""
        connection = await self._reach()
        if self._connection is not None and self._connection.lost is None:
            self._retired = {each for each in self._retired if each.lost is None}
            self._retired.add(self._connection)
        self._connection = connection

    async def _reach(self) -> "ClientConnection":
        loop = asyncio.get_running_loop()
        connection = ClientConnection()
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                if (tls := self._tls) is None:
                    await loop.create_connection(lambda: connection, self._host, self._port)
                else:
                    transport, _ = await loop.create_connection(
                        lambda: connection,
                        self._host,
                        self._port,
                        ssl=tls.context(),
                        server_hostname="",  # who it must be is checked by its identity
                    )
                    tls.check(transport)
                await connection.greeted.wait()
        except (OSError, TimeoutError, UnicodeError) as error:
            connection.abort("it did not answer")
            text = f"no connection to {self._address}: {error or 'no answer'}"
            raise StreamFailedError(grpc.StatusCode.UNAVAILABLE, text) from None
        except BaseException:
            connection.abort("nobody waits for it")
            raise
        if connection.lost is not None:
            raise connection.lost
        return connection


class ClientConnection(Connection):
    """The connection of a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.greeted = asyncio.Event()
        """The server has spoken, or is lost."""
        self._next_stream = 1
        self._room: deque[asyncio.Future[None]] = deque()
        """Calls that wait until the server takes one more, first come first."""

    @property
    def usable(self) -> bool:
        """New calls can be made on it."""
        return self.lost is None and not self.going_away

    @property
    def full(self) -> bool:
        """The server takes no more calls at the moment."""
        return len(self.streams) >= self.peer_max_streams

    async def room(self) -> None:
        """Wait until that may have changed."""
        waiter = asyncio.get_running_loop().create_future()
        self._room.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                self._room.remove(waiter)
            else:
                self._let_in()  # somebody else's turn
            raise

    def open(self, headers: list[Header]) -> ClientStream:
        """Begin a call."""
        if not self.usable:
            raise StreamFailedError(grpc.StatusCode.UNAVAILABLE, "the server is going away")
        stream = ClientStream(self, self._next_stream)
        self._next_stream += 2
        if self._next_stream > MAX_WINDOW:
            self.going_away = True  # no number is left for one more
        self.streams[stream.stream_id] = stream
        self.write(header_frames(0, stream.stream_id, header_block(headers)))
        return stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Wire.connection_made."""
        super().connection_made(transport)
        transport.get_extra_info("socket").setsockopt(
            socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1e3 * UNACKNOWLEDGED_S)
        )

    def opening(self) -> bytes:
        """See Wire.opening."""
        return PREFACE + super().opening()

    def patience(self) -> tuple[float, float]:
        """See Wire.patience."""
        return PING_AFTER_S, PONG_WITHIN_S

    def settings_received(self) -> None:
        """See Connection.settings_received."""
        self.greeted.set()
        self._let_in()

    def opened_here(self, stream_id: int) -> bool:
        """See Connection.opened_here."""
        return stream_id % 2 == 1

    def idle(self, stream_id: int) -> bool:
        """See Connection.idle."""
        return stream_id % 2 == 0 or stream_id >= self._next_stream

    def stream_forgotten(self) -> None:
        """See Connection.stream_forgotten."""
        if self.going_away and not self.streams and self.lost is None:
            self.close()
        if self._room:
            self._let_in()

    def end(self, reason: str) -> None:
        """See Wire.end."""
        super().end(reason)
        self.greeted.set()
        self._let_in()

    def _let_in(self) -> None:
        """Wake as many as there is room for; all, where they have to go elsewhere."""
        room = self.peer_max_streams - len(self.streams) if self.usable else len(self._room)
        while self._room and room > 0:
            waiter = self._room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                room -= 1


async def _one(request: Any, serialize: Callable[[Any], bytes]) -> AsyncGenerator[bytes, None]:
    yield serialize(request)


def _many(
    requests: AsyncIterable[Any] | None, serialize: Callable[[Any], bytes]
) -> AsyncGenerator[bytes, None] | None:
    return None if requests is None else _serialized(requests, serialize)


async def _serialized(
    requests: AsyncIterable[Any], serialize: Callable[[Any], bytes]
) -> AsyncGenerator[bytes, None]:
    iterator = aiter(requests)
    try:
        async for request in iterator:
            yield serialize(request)
    finally:
        # A generator that is left alone would be closed by a task of nobody's, some time.
        if isinstance(iterator, AsyncGenerator):
            await iterator.aclose()
