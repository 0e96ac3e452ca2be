"""What a process has to do to be seen: count its calls, listen for scrapes, and say where."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.registry import CollectorRegistry

from services.common.errors import ConfigurationError
from services.common.http2.server import Server
from services.common.metrics.calls import CallCounter
from services.common.metrics.certificate import CertificateExpiry
from services.common.metrics.endpoint import MetricsEndpoint, listen
from services.common.metrics.families import counter, gauge, histogram
from services.common.metrics.loop_lag import LoopLag
from services.common.metrics.snapshot import BuildInfo, LoopSnapshot, Source

PORT_KEY: Final = "metrics_port"
"""Where the metadata of an instance says at which port of its host it can be scraped."""
NO_PORT: Final = -1
"""The setting of a process that is not scraped: it counts nothing."""


class ProcessMetrics:
    """The metrics of one process: nothing of it is global, so that tests may have many."""

    def __init__(self, service: str, port: int = 0, certificate: Path | None = None) -> None:
        """`port` is where to listen (0: any that is free; NO_PORT: nowhere).

        `certificate` is the PEM file of the process's own, if it has one.
        """
        self._service = service
        self._port = port
        self._certificate = certificate
        self._listening: socket.socket | None = None
        self._endpoint: MetricsEndpoint | None = None
        self._calls = CallCounter()
        self._lag = LoopLag()

    def listen(self, host: str) -> None:
        """Take the port; raises ConfigurationError."""
        if self._port == NO_PORT:
            return
        try:
            self._listening = listen(host, self._port)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{self._port} for metrics; is the port in use? "
                f"FACET_METRICS_PORT={NO_PORT} does without ({error.strerror})"
            ) from None

    @property
    def interceptors(self) -> tuple[CallCounter, ...]:
        """What the server is to ask about each call, before anything that may refuse one."""
        return () if self._port == NO_PORT else (self._calls,)

    @property
    def meta(self) -> Mapping[str, str]:
        """What the registry is to say of the process."""
        if self._listening is None:
            return {}
        return {PORT_KEY: str(self._listening.getsockname()[1])}

    def serve(self, server: Server, source: Source) -> None:
        """Answer scrapes from now on; `source` is what the service itself has to tell."""
        if self._listening is None:
            return

        def of_the_server() -> Iterable[Metric]:
            yield from self._calls.families(server.handlers)
            yield from _connections(server)
            yield histogram(
                "facet_event_loop_lag_seconds",
                "By how much timers of the event loop were late, twice a second.",
                self._lag.seconds,
            )

        registry = CollectorRegistry()
        for standard in (ProcessCollector, PlatformCollector, GCCollector):
            standard(registry=registry)
        registry.register(BuildInfo(self._service))
        if self._certificate is not None:
            registry.register(CertificateExpiry(self._certificate))
        loop = asyncio.get_running_loop()
        registry.register(LoopSnapshot(loop, of_the_server, source))
        self._lag.start()
        self._endpoint = MetricsEndpoint(self._listening, registry)

    def close(self) -> None:
        """Answer nothing any more."""
        self._lag.stop()
        if self._endpoint is not None:
            self._endpoint.close()
        elif self._listening is not None:
            self._listening.close()


def _connections(server: Server) -> Iterable[Metric]:
    received, sent = server.traffic
    yield gauge("facet_server_connections", "Connections of gRPC clients.", server.connections)
    yield counter(
        "facet_server_received_bytes", "Bytes that gRPC clients sent, framing included.", received
    )
    yield counter(
        "facet_server_sent_bytes", "Bytes that gRPC clients were sent, framing included.", sent
    )
