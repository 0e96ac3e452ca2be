"""A gRPC server on the event loop."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final

from services.common.http2.arrivals import Arrivals
from services.common.http2.interceptor import Interceptor
from services.common.http2.limits import Guests, Limits
from services.common.http2.reception import Desk
from services.common.http2.server_connection import ServerConnection
from services.common.http2.tls import HANDSHAKE_WITHIN_S
from services.common.shared_port import leave_port
from services.common.timing_wheel import TimingWheel

BACKLOG: Final = 1_024
CANCELLED_WITHIN_S: Final = 5.0
"""A handler that does not end when it is cancelled is not waited for any longer."""
ACCEPT_ROUNDS: Final = 3
"""Rounds of the event loop after which a connection that was accepted has made itself known."""
GONE_WITHIN_S: Final = 1.0
"""A client that has not read the last bytes by then, when the server stops, does not get them."""


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

    def _traffic_with(self, connections: Iterable[ServerConnection]) -> tuple[int, int]:
        received, sent = self._former_traffic
        for connection in connections:
            received += connection.received_bytes
            sent += connection.sent_bytes
        return received, sent

    # For connections and calls.

    def connected(self, connection: ServerConnection) -> None:
        """A client has connected."""
        self._connections.add(connection)

    def disconnected(self, connection: ServerConnection) -> None:
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
