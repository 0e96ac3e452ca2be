"""The life of one service process.

Start: listen → load and warm → SERVING → register.
SIGTERM: NOT_SERVING → deregister → finish or hand back → close.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

import structlog
import uvloop
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import SERVICE_NAME as HEALTH_SERVICE_NAME
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from prometheus_client.core import Metric

from services.common.deadline import Deadline
from services.common.errors import ConfigurationError, FacetError, InvalidRequestError
from services.common.health import HealthServicer
from services.common.http2.interceptor import Interceptor
from services.common.http2.limits import Limits
from services.common.http2.server import Server
from services.common.logs import configure_logging
from services.common.metrics.process_metrics import ProcessMetrics
from services.common.own_address import own_address
from services.common.registry import HEALTH_PORT_KEY, Instance, Registry, open_registry
from services.common.security.protection import Protection
from services.common.settings import ServiceSettings, read_settings
from services.common.shared_memory import MEMORY_KEY, host_key
from services.common.tracing.opening import open_trail
from services.common.tracing.trail import SILENT, Trail

log = structlog.get_logger(__name__)

SettingsT = TypeVar("SettingsT", bound=ServiceSettings)

EXIT_CANNOT_START: Final = 78
"""EX_CONFIG of sysexits.h: starting again would fail again."""

WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # compared, not bound


@dataclass(frozen=True, slots=True)
class Servicer:
    """A servicer and the generated function that adds it to a server."""

    full_name: str
    """Such as facet.inference.v1.InferenceService."""
    add_to_server: Callable[[Any, Any], None]
    servicer: object


class Service:
    """What a process serves. Its constructor only wires; nothing runs before `start`."""

    servicers: Sequence[Servicer] = ()
    """The gRPC services besides health and reflection."""
    interceptors: Sequence[Interceptor] = ()
    """What looks at the calls, in this order, after they were counted."""
    limits: Limits = Limits()
    """What clients may take of the process together."""
    shared_port: int = 0
    """A port that other processes listen on as well, besides this one's own; 0: none."""

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Get ready to serve. `background` runs what must run as long as the process does."""

    def metrics(self) -> Iterable[Metric]:
        """What the service tells Prometheus at this moment, besides what every process does."""
        return ()

    async def settled(self) -> None:
        """Return when clients of the shared port are served as well here as by the others."""

    async def drain(self) -> None:
        """Finish or hand back the work in hand. Streams must end; new work is refused."""

    async def close(self) -> None:
        """Free what was acquired."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a service is built from."""

    instance: Instance
    registry: Registry
    trail: Trail = SILENT
    """What is told of the requests that pass through the process."""
    protection: Protection = field(default_factory=Protection)
    """How channels to other services speak."""


def run_service(
    name: str,
    settings_type: type[SettingsT],
    build: Callable[[SettingsT, Context], Service],
) -> None:
    """Run a service in this process until SIGTERM or SIGINT, with settings from the environment.

    Exits with EXIT_CANNOT_START when the settings or the machine do not let it run, with 1 when
    it had to give up later; the last line of the log says why.
    """
    try:
        configure_logging(service=name)  # for what is wrong with the settings
        settings = read_settings(settings_type)
        process = _Process(name, settings)
        configure_logging(
            settings.log_format, settings.log_level, service=name, instance=process.instance_id
        )
        uvloop.run(process.run(partial(build, settings)))
    except ConfigurationError as error:
        log.error("cannot start", service=name, reason=error.message)
        sys.exit(EXIT_CANNOT_START)
    except FacetError as error:
        log.error("cannot go on", service=name, reason=error.message)
        sys.exit(1)
    except Exception:
        log.exception("failed unexpectedly", service=name)
        sys.exit(1)


@contextmanager
def _settings_to_blame() -> Iterator[None]:
    """What a process asks of others on its way up comes from its settings."""
    try:
        yield
    except InvalidRequestError as error:
        raise ConfigurationError(error.message) from error


def _spare_the_collector() -> None:
    """Leave what was loaded out of garbage collection, and collect less often.

    Messages make many objects that live shortly and no circles; going through all modules and
    models after every 700 of them costs some per cent of a core.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


class _Process:
    def __init__(self, name: str, settings: ServiceSettings) -> None:
        self._name = name
        self.instance_id = settings.instance_id(name)
        self._settings = settings
        self._drained_by = Deadline.after(0)
        """Until then what is left is delivered."""
        self._stop = asyncio.Event()
        self._failure: BaseException | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._health_server: Server | None = None
        """In plain text, beside a main port that is not."""

    async def run(self, build: Callable[[Context], Service]) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        settings = self._settings
        if settings.die_with_parent:
            self._stop_with(os.getppid())
        with _settings_to_blame():
            protection = Protection(self._name, settings)
            registry = open_registry(settings.registry_url, settings.consul_access)
        door = protection.door
        metrics = ProcessMetrics(self._name, settings.metrics_port, settings.tls_cert)
        server = Server(settings.max_message_bytes, door.server_context if door else None)
        if protection.has_tls or settings.health_port:
            self._health_server = Server()
        trail = open_trail(self._name, self.instance_id, settings)
        try:
            metrics.listen(settings.host)
            instance = self._listen(server, metrics.meta)
            if (upkeep := protection.upkeep()) is not None:
                self._spawn(upkeep)
            with _settings_to_blame():
                service = build(Context(instance, registry, trail, protection))
            looking = (*metrics.interceptors, *service.interceptors, *protection.interceptors)
            server.guard(looking, service.limits)
            metrics.serve(server, service.metrics)
            await self._serve(server, service, instance, registry)
        finally:
            for each in self._servers(server):
                await each.stop(0)
            metrics.close()
            await registry.close()
            await trail.close(self._drained_by.remaining_s)
        if self._failure is not None:
            raise self._failure

    def _servers(self, server: Server) -> Iterator[Server]:
        yield server
        if self._health_server is not None:
            yield self._health_server

    def _stop_with(self, pid: int) -> None:
        """Stop when that process ends, however it ends."""
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            self._stop.set()
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._stop.set()

        loop.add_reader(descriptor, ended)

    def _listen(self, server: Server, meta: Mapping[str, str]) -> Instance:
        settings = self._settings
        port = self._listen_on(server, settings.port)
        advertised = settings.advertise_host or settings.host
        if advertised in WILDCARDS:
            advertised = own_address(advertised)
        meta = {MEMORY_KEY: host_key(), **meta}
        if self._health_server is not None:
            health_port = self._listen_on(self._health_server, settings.health_port)
            meta[HEALTH_PORT_KEY] = str(health_port)
        return Instance(self._name, self.instance_id, advertised, port, meta)

    def _listen_on(self, server: Server, port: int, *, shared: bool = False) -> int:
        host = self._settings.host
        try:
            return server.listen(host, port, reuse_port=shared)
        except OSError as error:
            raise ConfigurationError(
                f"cannot listen on {host}:{port}; is the port in use? ({error.strerror})"
            ) from None

    async def _join(self, server: Server, service: Service) -> None:
        """Serve at the shared port, too.

        Which of the processes there a client reaches is chance, so each registers a port of its
        own: a health check, or a link, is about one process.
        """
        await service.settled()
        if not self._stop.is_set():
            self._listen_on(server, service.shared_port, shared=True)
            await server.start()
            log.info("listening on the shared port", port=service.shared_port)

    async def _serve(
        self, server: Server, service: Service, instance: Instance, registry: Registry
    ) -> None:
        names = [servicer.full_name for servicer in service.servicers]
        health = HealthServicer(names)
        for each in self._servers(server):
            health_pb2_grpc.add_HealthServicer_to_server(health, each)  # type: ignore[arg-type]
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            reflection.aio.ReflectionServicer(
                [*names, HEALTH_SERVICE_NAME, reflection.SERVICE_NAME]
            ),
            server,
        )
        for servicer in service.servicers:
            servicer.add_to_server(servicer.servicer, server)
        for each in self._servers(server):
            await each.start()
        try:
            await service.start(self._spawn)
            if not self._stop.is_set():
                _spare_the_collector()
                health.set_serving(True)
                with _settings_to_blame():
                    registration = await registry.register(instance)
                if service.shared_port:
                    self._spawn(self._join(server, service))
                log.info("serving", service=self._name, id=instance.id, address=instance.address)
                await self._stop.wait()
                log.info("draining", service=self._name, id=instance.id)
                health.set_serving(False)
                await registration.withdraw()
            await self._drain(server, service, health)
        finally:
            for task in self._background:
                task.cancel()
            await asyncio.gather(*self._background, return_exceptions=True)
            await service.close()
            log.info("stopped", service=self._name, id=instance.id)

    async def _drain(self, server: Server, service: Service, health: HealthServicer) -> None:
        self._drained_by = deadline = Deadline.after(self._settings.drain_s)
        try:
            async with asyncio.timeout(deadline.remaining_s):
                await service.drain()
        except TimeoutError:
            log.warning("work in hand did not finish in time", drain_s=self._settings.drain_s)
        health.end_watches()
        for each in self._servers(server):
            await each.stop(deadline.remaining_s)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A part that dies takes the process with it: a supervisor starts a whole one."""
        self._background.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            log.error("a background task failed", exc_info=failure)
            self._failure = self._failure or failure
            self._stop.set()
