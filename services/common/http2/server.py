"""A gRPC server on the event loop."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from services.common.http2.arrivals import Arrivals
from services.common.http2.connection import Connection
from services.common.http2.frames import (
    MAX_WINDOW,
    PREFACE,
    ErrorCode,
    Kind,
    ProtocolError,
    Setting,
    frame,
    goaway_frame,
)
from services.common.http2.headers import Header
from services.common.http2.interceptor import Interceptor
from services.common.http2.limits import Guests, Limits
from services.common.http2.reception import Desk
from services.common.http2.rules import request_fault
from services.common.http2.server_call import ServerCall
from services.common.http2.tls import HANDSHAKE_WITHIN_S, identity_of
from services.common.shared_port import leave_port
from services.common.timing_wheel import TimingWheel

PREFACE_WITHIN_S: Final = 10.0
"""A client that has not said that it speaks HTTP/2 by then is let go."""
TOLD_WITHIN_S: Final = 1.0
"""A client that has not confirmed by then that it heard that the server stops is not waited for."""
BACKLOG: Final = 1_024
PING_AFTER_S: Final = 30.0
"""A client of which nothing came for so long is tried by a ping: it may have lost its network,"""
PONG_WITHIN_S: Final = 20.0
"""and is let go when that is not answered within this."""
CANCELLED_WITHIN_S: Final = 5.0
"""A handler that does not end when it is cancelled is not waited for any longer."""
ACCEPT_ROUNDS: Final = 3
"""Rounds of the event loop after which a connection that was accepted has made itself known."""
GONE_WITHIN_S: Final = 1.0
"""A client that has not read the last bytes by then, when the server stops, does not get them."""

_STOPPING: Final = b"stopping"
"""Eight bytes, by which the ping after the news is known when it comes back."""


class Server:
    """Serves the handlers that generated code adds.

    Handlers are coroutines, or asynchronous generators where they stream.
    """

    def __init__(self, max_message_bytes: int = -1, tls: ssl.SSLContext | None = None) -> None:
        """`max_message_bytes` limits what a request may have; -1: nothing does.

        Without `tls` the server speaks plain text.
        """
        self._tls = tls
        self.interceptors: tuple[Interceptor, ...] = ()
        self.wheel = TimingWheel()
        """For the deadlines of its calls."""
        self.limits = Limits()
        self.arrivals: Arrivals | None = None
        """What keeps requests that are arriving within bounds, where there are any."""
        self.max_message_bytes = max_message_bytes if max_message_bytes >= 0 else 1 << 62
        self.handlers: dict[str, Any] = {}
        """Path → grpc.RpcMethodHandler."""
        self.stopping = False
        self._sockets: list[socket.socket] = []
        self._shared: list[socket.socket] = []
        """Those of the sockets whose port other processes listen on as well."""
        self._listeners: list[asyncio.Server] = []
        self._connections: set[ServerConnection] = set()
        self._all_gone = asyncio.Event()
        """No client is connected to a server that stops."""
        self._calls: set[asyncio.Task[None]] = set()
        self._former_traffic = (0, 0)
        """Bytes received from and sent to clients that have gone."""
        self._guests: Guests | None = None

    def guard(self, interceptors: Iterable[Interceptor], limits: Limits | None = None) -> None:
        """Set who looks at calls, and what clients may take of it; before it starts."""
        self.interceptors = tuple(interceptors)
        self.limits = limits = limits or Limits()
        if limits.request_within_s or limits.max_arriving_bytes:
            self.arrivals = Arrivals(limits.request_within_s, limits.max_arriving_bytes)
        if limits.max_connections or limits.max_peer_connections:
            self._guests = Guests(limits)

    # What generated code calls.

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Do nothing: generated code adds the same handlers by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Serve the methods of a service."""
        for name, handler in handlers.items():
            self.handlers[f"/{service}/{name}"] = handler

    # Its life.

    def listen(self, host: str, port: int, *, reuse_port: bool = False) -> int:
        """Bind to an address and return the port (0: any that is free); raises OSError.

        With `reuse_port` several processes share the port, and the kernel shares out clients.
        """
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, _, _, _, address in dict.fromkeys(found):
            bound = (address[0], port)
            listening = socket.create_server(
                bound,
                family=family,
                backlog=BACKLOG,
                reuse_port=reuse_port,
                dualstack_ipv6=family == socket.AF_INET6 and len(found) == 1 and address[0] == "::",
            )
            self._sockets.append(listening)
            if reuse_port:
                self._shared.append(listening)
            port = listening.getsockname()[1]
        return port

    async def start(self) -> None:
        """Accept connections at all sockets that were added since it was last called."""
        loop = asyncio.get_running_loop()
        for listening in self._sockets[len(self._listeners) :]:
            listener = await loop.create_server(
                self._receive(),
                sock=listening,
                backlog=BACKLOG,
                ssl=self._tls,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S if self._tls else None,
            )
            self._listeners.append(listener)
        if self.arrivals is not None:
            self.arrivals.watch(self._connections)

    def _receive(self) -> Callable[[], asyncio.Protocol]:
        """Return what makes the protocol of each client that connects."""
        if self._guests is None:
            return lambda: ServerConnection(self)
        return Desk(self._guests, lambda address: ServerConnection(self, address)).reception

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, let those in hand go on for so long, then cancel them."""
        if grace_s > 0:
            await _within(grace_s, leave_port(self._shared))
        self.stopping = True
        for listener in self._listeners:
            listener.close()
        for listening in self._sockets:
            listening.close()
        for _ in range(ACCEPT_ROUNDS):
            await asyncio.sleep(0)
        for connection in list(self._connections):
            connection.retire()
        if grace_s > 0:
            await _within(grace_s, self._finish())
        if self.arrivals is not None:
            self.arrivals.stop()
        # The handlers go first: they may still say why the call ends.
        for call in list(self._calls):
            call.cancel()
        if self._calls:
            await asyncio.wait(self._calls, timeout=CANCELLED_WITHIN_S)
        for connection in list(self._connections):
            connection.close()
        await self._gone()
        for connection in list(self._connections):
            connection.abort("the server stops")
        await self._gone()

    async def _gone(self) -> None:
        """Wait until all clients have gone, but not long."""
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(GONE_WITHIN_S):
                    await self._all_gone.wait()

    async def _finish(self) -> None:
        """Return when every client knows that the server stops, and no call is in hand."""
        while True:
            told = [each.told for each in self._connections if not each.told.done()]
            if not (told or self._calls):
                return
            await asyncio.wait([*told, *self._calls])

    # What is told of it.

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from and sent to all clients so far."""
        return self._traffic_with(self._connections)

    def _traffic_with(self, connections: Iterable["ServerConnection"]) -> tuple[int, int]:
        received, sent = self._former_traffic
        for connection in connections:
            received += connection.received_bytes
            sent += connection.sent_bytes
        return received, sent

    # For connections and calls.

    def connected(self, connection: "ServerConnection") -> None:
        """A client has connected."""
        self._connections.add(connection)

    def disconnected(self, connection: "ServerConnection") -> None:
        """A client has gone."""
        if connection in self._connections:
            self._former_traffic = self._traffic_with((connection,))
            self._connections.discard(connection)
        if self._guests is not None:
            self._guests.leave(connection.address)
        if self.stopping and not self._connections:
            self._all_gone.set()

    def call_started(self, task: asyncio.Task[None]) -> None:
        """A handler runs."""
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)


async def _within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Give up work that takes longer."""
    with suppress(TimeoutError):
        await asyncio.wait_for(work, seconds)


class ServerConnection(Connection):
    """One client."""

    lingers = True

    def __init__(self, server: Server, address: str = "") -> None:
        super().__init__()
        self.address = address
        """Where the client is, on a server that counts them."""
        self._server = server
        self._beginning: bytes | None = b""
        """What has come of the preface; None once it is complete."""
        self._last_stream = 0
        self._last_seen = 0
        """The last stream that the client opened, taken or not."""
        self._sound: list[Header] | None = None
        """Headers that were found to be well-formed."""
        self._retiring = False
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the client sends no more calls."""
        self.peer: str | None = None
        """Who the client is by its certificate, such as spiffe://facet/gateway."""
        self._running = 0
        self._patience: asyncio.TimerHandle | None = None

    @property
    def last_stream(self) -> int:
        """See Connection.last_stream."""
        return self._last_stream

    def own_settings(self) -> dict[Setting, int]:
        """See Connection.own_settings."""
        return {Setting.MAX_CONCURRENT_STREAMS: self._server.limits.max_streams}

    def patience(self) -> tuple[float, float]:
        """See Wire.patience."""
        return PING_AFTER_S, PONG_WITHIN_S

    def idle(self, stream_id: int) -> bool:
        """See Connection.idle."""
        return stream_id % 2 == 0 or stream_id > self._last_seen

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See Connection.connection_made."""
        super().connection_made(transport)
        self.peer = identity_of(transport)
        self._server.connected(self)
        self._patience = asyncio.get_running_loop().call_later(
            PREFACE_WITHIN_S, self.abort, "no HTTP/2 was spoken"
        )
        if self._server.stopping:
            self.retire()

    def connection_lost(self, exc: Exception | None) -> None:
        """See Connection.connection_lost."""
        self._server.disconnected(self)
        super().connection_lost(exc)

    def end(self, reason: str) -> None:
        """See Wire.end."""
        super().end(reason)
        if not self.told.done():
            self.told.set_result(None)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def frames_received(self, data: bytes) -> None:
        """See Connection.frames_received; the preface comes first."""
        if self._beginning is not None:
            data = self._beginning + data
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise ProtocolError("this is not HTTP/2")
            if len(data) < len(PREFACE):
                self._beginning = data
                return
            self._beginning = None
            data = data[len(PREFACE) :]
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
        super().frames_received(data)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """See Connection.reset; the client brought it about."""
        super().reset(stream_id, code)
        self.owe()

    def headers_for_new_stream(self, stream_id: int, headers: list[Header]) -> None:
        """A call comes in."""
        if stream_id % 2 == 0:
            raise ProtocolError("a stream that only this end could have opened")
        if stream_id <= self._last_seen:
            if self.was_reset(stream_id):
                return  # it was under way
            raise ProtocolError("headers on a stream that has ended", ErrorCode.STREAM_CLOSED)
        self._last_seen = stream_id
        most = self._server.limits.max_streams
        if self._retiring or max(len(self.streams), self._running) >= most:
            self.reset(stream_id, ErrorCode.REFUSED_STREAM)
            return
        self._last_stream = stream_id
        # The headers of one more call of the same kind are the same object.
        if headers is not self._sound:
            if request_fault(headers):
                self.reset(stream_id, ErrorCode.PROTOCOL_ERROR)
                return
            self._sound = headers
        call = ServerCall(self._server, self, stream_id, headers)
        self.streams[stream_id] = call
        call.start()
        if call.local_ended:
            self.owe()

    def call_started(self, task: asyncio.Task[None]) -> None:
        """A handler runs; it counts until it has ended, even where its stream was reset."""
        self._running += 1
        task.add_done_callback(self._call_ended)

    def _call_ended(self, _: asyncio.Task[None]) -> None:
        self._running -= 1

    def retire(self) -> None:
        """Let the client send no more calls; the connection closes when the last one has ended.

        RFC 9113, 6.8: what it has sent before it heard of it is still taken. That all of that is
        here is known when a ping that follows the news comes back.
        """
        self.write(goaway_frame(MAX_WINDOW, ErrorCode.NO_ERROR) + frame(Kind.PING, 0, 0, _STOPPING))
        asyncio.get_running_loop().call_later(TOLD_WITHIN_S, self.ping_answered, _STOPPING)

    def ping_answered(self, payload: bytes) -> None:
        """See Connection.ping_answered."""
        if payload == _STOPPING and not self.told.done():
            self.told.set_result(None)
            self._retiring = True
            self.write(goaway_frame(self._last_stream, ErrorCode.NO_ERROR))
            self.stream_forgotten()

    def stream_forgotten(self) -> None:
        """See Connection.stream_forgotten."""
        if self._retiring and not self.streams and self.lost is None:
            self.close()
