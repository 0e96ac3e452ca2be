"""Services inside the test's own process: all of them is real but the model's engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from facet.inference.v1 import inference_pb2, inference_pb2_grpc
from services.common.http2.server import Server
from services.common.models.key import ModelKey
from services.common.models.repository import ModelRepository
from services.common.process import Context, Service, SettingsT
from services.common.registry import Instance
from services.common.rpc.leader import SCHEDULER_ROLE, follow_leader
from services.inference.batch import Caller
from services.inference.device import Device
from services.inference.host import ModelHost
from services.inference.servicer import InferenceServicer
from services.inference.shard import REASONS, Shard
from tests.fakes import MemoryRegistry, NumpyEngine
from tests.inference.models import MODEL, engine_of, host_of, load
from tests.servers import RunningServer


class _ListeningShard(Shard):
    """A shard that remembers which pieces it was told are not wanted: a test can't see it."""

    def __init__(self, instance: Instance, host: ModelHost, device: Device) -> None:
        super().__init__(instance, host, device)
        self.told: list[str] = []

    def unwanted(self, caller: Caller, request: inference_pb2.InferRequest) -> None:
        """See Shard."""
        super().unwanted(caller, request)
        self.told += [REASONS[piece.reason] for piece in request.unwanted]


class RunningShard:
    """One shard that serves and follows the leading scheduler.

    `held`: its engine is not open from the start.
    """

    def __init__(
        self,
        repository: ModelRepository,
        registry: MemoryRegistry,
        name: str,
        *,
        held: bool = False,
        **described: float,
    ) -> None:
        self.name = name
        self._held = held
        load_one = partial(load, repository, **described)
        self.host = host_of(repository, load_one, self._models_changed, shard=name)
        self.device = Device(self.host.find)
        self.shard: _ListeningShard | None = None
        self.draining = asyncio.Event()
        self._registry = registry
        self._servicer: InferenceServicer | None = None
        self._server: RunningServer | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def engine(self) -> NumpyEngine:
        """The engine of the model that the tests use."""
        return self.engine_for(MODEL)

    def engine_for(self, key: ModelKey) -> NumpyEngine:
        """The engine of another one."""
        return engine_of(self.host.find(key))

    @property
    def instance(self) -> Instance:
        """As the registry names it."""
        assert self._server is not None
        return self._server.instance("inference", self.name)

    @property
    def told(self) -> list[str]:
        """Why pieces are not wanted, one reason each, as the shard was told."""
        assert self.shard is not None
        return self.shard.told

    async def start(self) -> None:
        """Load, serve, ask for work and register."""
        await self.host.refresh()
        if self._held:
            self.engine.open.clear()
        server = Server()
        self._server = RunningServer(server, server.listen("127.0.0.1", 0))
        self.shard = _ListeningShard(self.instance, self.host, self.device)
        self._servicer = InferenceServicer(self.shard, self.host, self.device, self.draining)
        inference_pb2_grpc.add_InferenceServiceServicer_to_server(self._servicer, server)
        await server.start()
        self._tasks = [
            asyncio.create_task(work)
            for work in (
                self.device.run(),
                self.shard.expire_grants(),
                self.host.follow(),
                self.host.obey(),
                follow_leader(self._registry, SCHEDULER_ROLE, self.shard.session),
            )
        ]
        self._registry.enter(self.instance)

    async def drain(self) -> None:
        """Stop in order, as after SIGTERM."""
        assert self.shard is not None
        self._registry.remove(self.instance)
        await self.shard.drain()
        self.draining.set()

    async def die(self) -> None:
        """End at once, as after SIGKILL; the registry finds out. Idempotent."""
        assert self._server is not None
        for descriptor in self.host.descriptors:
            self.engine_for(ModelKey.from_message(descriptor.model)).open.set()
        for task in self._tasks:
            task.cancel()
        await self._server.die()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._registry.remove(self.instance)
        self.device.close()
        self.host.close()

    def _models_changed(self) -> None:
        if self.shard is not None and self._servicer is not None:
            self.shard.models_changed()
            self._servicer.models_changed()


@asynccontextmanager
async def running_shard(
    repository: ModelRepository,
    registry: MemoryRegistry,
    name: str = "s",
    *,
    held: bool = False,
    **described: float,
) -> AsyncIterator[RunningShard]:
    """A shard for the time of the block; `described` is what it says of its models."""
    running = RunningShard(repository, registry, name, held=held, **described)
    await running.start()
    try:
        yield running
    finally:
        await running.die()


class RunningService:
    """A service that runs as `services.common.process` runs it, on the test's own loop."""

    def __init__(
        self,
        name: str,
        build: Callable[[SettingsT, Context], Service],
        settings: SettingsT,
        registry: MemoryRegistry,
    ) -> None:
        self._registry = registry
        self._server = Server()
        port = self._server.listen("127.0.0.1", 0)
        self.instance = Instance(name, settings.instance_id(name), "127.0.0.1", port)
        self.service = build(settings, Context(self.instance, registry))
        self._server.guard(self.service.interceptors, self.service.limits)
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = False

    async def start(self) -> None:
        """Serve and register."""
        for servicer in self.service.servicers:
            servicer.add_to_server(servicer.servicer, self._server)
        await self._server.start()
        await self.service.start(lambda work: self._tasks.append(asyncio.create_task(work)))
        self._registry.enter(self.instance)

    async def stop(self, grace_s: float = 0) -> None:
        """Leave, drain and stop. Idempotent."""
        if self._stopped:
            return
        self._stopped = True
        self._registry.remove(self.instance)
        await self.service.drain()
        await self._server.stop(grace_s)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.service.close()


@asynccontextmanager
async def running_service(
    name: str,
    build: Callable[[SettingsT, Context], Service],
    settings: SettingsT,
    registry: MemoryRegistry,
) -> AsyncIterator[RunningService]:
    """A service for the time of the block."""
    running = RunningService(name, build, settings, registry)
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
