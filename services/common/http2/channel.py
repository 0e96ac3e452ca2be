"""A gRPC channel on the event loop: one connection to one server, made anew when it is lost."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Self, TypeVar, cast

import grpc

from services.common.http2.client_call import Call, ClientStream
from services.common.http2.connection import Connection
from services.common.http2.frames import PREFACE, Flag, Kind, frame
from services.common.http2.headers import Header, encode_metadata, encode_timeout, header_block
from services.common.http2.messages import ACCEPTED
from services.common.http2.stream import StreamFailedError

Request = TypeVar("Request")

CONNECT_WITHIN_S: Final = 4.0
"""For the socket and the first word of the server; a frozen one has only a socket."""
PING_AFTER_S: Final = 2.0
"""A connection on which nothing came for so long is tried by a ping,"""
PONG_WITHIN_S: Final = 2.0
"""and lost when that is not answered within this."""

Metadata = Iterable[tuple[str, str | bytes]]
MultiCallable = Callable[..., Call[Any]]


class Channel:
    """Calls to the server at host:port. What stubs that code generated are given."""

    def __init__(self, address: str) -> None:
        self._host, _, port = address.rpartition(":")
        self._host = self._host.strip("[]")
        self._port = int(port)
        self._address = address
        self._connection: ClientConnection | None = None
        self._connecting = asyncio.Lock()

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
        """End all calls and the connection."""
        if self._connection is not None:
            self._connection.close()

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
        requests_of: Callable[[Any], AsyncIterable[Any] | None],
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        _registered_method: bool = True,
    ) -> MultiCallable:
        def call(
            request: Any = None, *, timeout: float | None = None, metadata: Metadata = ()
        ) -> Call[Any]:
            headers = [
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", path.encode()),
                (b":authority", self._address.encode()),
                (b"te", b"trailers"),
                (b"content-type", b"application/grpc"),
                (b"grpc-accept-encoding", ACCEPTED.encode()),
                *encode_metadata(metadata),
            ]
            if timeout is not None:
                headers.append((b"grpc-timeout", encode_timeout(timeout)))
            return Call(
                self,
                headers,
                requests_of(request),
                request_serializer,
                response_deserializer,
                timeout,
            )

        return call

    # For calls.

    async def connection(self) -> "ClientConnection":
        """Return the connection, made if there is none; raises StreamFailedError."""
        async with self._connecting:
            if self._connection is None or not self._connection.usable:
                self._connection = await self._connect()
            return self._connection

    async def _connect(self) -> "ClientConnection":
        loop = asyncio.get_running_loop()
        connection = ClientConnection()
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                await loop.create_connection(lambda: connection, self._host, self._port)
                await connection.greeted.wait()
        except (OSError, TimeoutError) as error:
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
        self._watch: asyncio.TimerHandle | None = None

    @property
    def usable(self) -> bool:
        """New calls can be made on it."""
        return self.lost is None and not self.going_away

    def open(self, headers: list[Header]) -> ClientStream:
        """Begin a call."""
        if not self.usable:
            raise self.lost or StreamFailedError(
                grpc.StatusCode.UNAVAILABLE, "the server is going away"
            )
        stream = ClientStream(self, self._next_stream)
        self._next_stream += 2
        self.streams[stream.stream_id] = stream
        block = header_block(headers)
        self.write(frame(Kind.HEADERS, Flag.END_HEADERS, stream.stream_id, block))
        return stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection.connection_made."""
        cast("asyncio.Transport", transport).write(PREFACE)
        super().connection_made(transport)
        self._watch = asyncio.get_running_loop().call_later(PING_AFTER_S, self._silent)

    def settings_received(self) -> None:
        """See Connection.settings_received."""
        self.greeted.set()

    def opened_here(self, stream_id: int) -> bool:
        """See Connection.opened_here."""
        return stream_id % 2 == 1

    def stream_forgotten(self) -> None:
        """See Connection.stream_forgotten."""
        if self.going_away and not self.streams and self.lost is None:
            self.close()

    def end(self, reason: str) -> None:
        """See Connection.end."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        super().end(reason)
        self.greeted.set()

    def _silent(self) -> None:
        """Ask whether the server lives where nothing came of late."""
        loop = asyncio.get_running_loop()
        if self.heard:
            self.heard = False
            self._watch = loop.call_later(PING_AFTER_S, self._silent)
        else:
            self.write(frame(Kind.PING, 0, 0, b"\0" * 8))
            self._watch = loop.call_later(PONG_WITHIN_S, self._unanswered)

    def _unanswered(self) -> None:
        if self.heard:
            self._silent()
        else:
            self.abort("the server does not answer")


async def _one(request: Any) -> AsyncIterator[Any]:
    yield request


def _many(requests: AsyncIterable[Any] | None) -> AsyncIterable[Any] | None:
    return requests
