"""The HTTP server of /metrics.

The event loop accepts a connection, a thread writes what it is answered. Nothing runs between two
scrapes, and there is nothing to wait for when the process ends.
"""

import asyncio
import socket
import sys
import threading
from http import HTTPStatus
from http.server import HTTPServer
from socketserver import ThreadingMixIn
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from prometheus_client import CollectorRegistry, MetricsHandler

log = structlog.get_logger(__name__)

PATH: Final = "/metrics"
MAX_SCRAPES: Final = 4
"""Connections at a time; more are closed at once."""
PATIENCE_S: Final = 5.0
"""Seconds for which a client may say or read nothing."""


class MetricsEndpoint:
    """Serves a registry. To be made on the event loop that its collectors ask."""

    def __init__(self, listening: socket.socket, registry: CollectorRegistry) -> None:
        listening.setblocking(False)
        self._server = _Server(listening, _Handler.factory(registry))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._server.fileno(), self._server.handle_request)

    def close(self) -> None:
        """Accept nothing any more."""
        self._loop.remove_reader(self._server.fileno())
        self._server.server_close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket at an address (port 0: any that is free); raises OSError."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = found[0]
    return socket.create_server(
        (str(address[0]), port),
        family=family,
        dualstack_ipv6=family == socket.AF_INET6 and address[0] == "::",
    )


class _Server(ThreadingMixIn, HTTPServer):
    daemon_threads = True
    timeout = 0  # there is a connection when it is asked to handle one

    def __init__(self, listening: socket.socket, handler: Any) -> None:
        super().__init__(listening.getsockname(), handler, bind_and_activate=False)
        self.socket.close()  # one is made whether it is wanted or not
        self.socket = listening
        self._room = threading.BoundedSemaphore(MAX_SCRAPES)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape was broken off", error=repr(sys.exception()))


class _Handler(MetricsHandler):
    timeout = PATIENCE_S
    server_version = "Facet"
    sys_version = ""

    def do_GET(self) -> None:
        if urlsplit(self.path).path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is {PATH} and nothing else")
            return
        try:
            super().do_GET()
        except TimeoutError:  # before anything was written
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "the event loop does not come round")
        except OSError:
            raise  # the client has gone
        except Exception:
            log.exception("the metrics cannot be told")
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR, "see the log of the process")
