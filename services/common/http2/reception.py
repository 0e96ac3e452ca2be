"""Who may connect at all: looked at before a connection is given anything."""

import asyncio
from collections.abc import Callable
from typing import cast

import structlog

from services.common.http2.limits import Guests

log = structlog.get_logger(__name__)


class Desk:
    """What the receptions of one server share."""

    def __init__(self, guests: Guests, open_connection: Callable[[str], asyncio.Protocol]) -> None:
        """`open_connection` makes what serves a client that may stay, by its address."""
        self._guests = guests
        self._open_connection = open_connection
        self._refusing = False

    def reception(self) -> "Reception":
        """Return what receives one client."""
        return Reception(self)

    def enter(self, address: str) -> asyncio.Protocol | None:
        """Return what serves a client from there; None: it is one too many."""
        if not self._guests.enter(address):
            if not self._refusing:  # one line for all until there is room again
                log.warning("too many connections; further ones are closed", address=address)
            self._refusing = True
            return None
        self._refusing = False
        return self._open_connection(address)


class Reception(asyncio.Protocol):
    """Receives one client: hands it on to a connection of its own, or closes.

    Without a word, for the word would be taken for a server that works: grpcio connects again at
    once where it has read SETTINGS, however the connection ended. So it waits longer each time,
    and its calls end as UNAVAILABLE.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decide."""
        socket = cast("asyncio.Transport", transport)
        peer = socket.get_extra_info("peername")
        connection = self._desk.enter(str(peer[0]) if peer else "")
        if connection is None:
            socket.abort()
            return
        socket.set_protocol(connection)
        connection.connection_made(socket)
