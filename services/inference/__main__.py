"""An inference shard: `python -m services.inference`."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

from prometheus_client.core import Metric

from facet.inference.v1 import inference_pb2_grpc
from services.common.models.key import ModelKey
from services.common.models.native_logs import QUIET_ENVIRONMENT
from services.common.models.repository import ModelRepository
from services.common.process import Context, Service, Servicer, run_service
from services.common.rpc.leader import SCHEDULER_ROLE, follow_leader
from services.inference.device import Device
from services.inference.host import ModelHost
from services.inference.loaded_model import LoadedModel, load_model
from services.inference.memory import default_budget
from services.inference.metrics import device_metrics, model_metrics
from services.inference.servicer import InferenceServicer
from services.inference.settings import InferenceSettings
from services.inference.shard import Shard
from services.inference.trial import Trials

NAME: Final = "inference"


class InferenceShard(Service):
    """Loads and warms the repository's models, then runs what it is leased."""

    def __init__(self, settings: InferenceSettings, context: Context) -> None:
        self._registry = context.registry
        self._scheduler_tls = context.protection.to("scheduler")
        self._trials = Trials()
        self._repository = repository = ModelRepository.open(
            settings.models_url, settings.file_cache()
        )

        def load(key: ModelKey, serving: bool) -> LoadedModel:
            loaded = load_model(
                repository,
                key,
                self._trials.measure if serving else None,
                engine=settings.engine,
                threads=settings.threads,
                max_batch=settings.max_batch,
            )
            self._trials.learned(loaded.version.manifest, loaded.version.plan.measured)
            return loaded

        self._host = ModelHost(
            repository,
            load,
            self._models_changed,
            shard=context.instance.id,
            keep_versions=settings.keep_versions,
            max_batch=settings.max_batch,
            budget_bytes=settings.model_memory_bytes or default_budget(),
        )
        self._device = Device(self._host.find, context.trail)
        self._shard = Shard(context.instance, self._host, self._device)
        self._draining = asyncio.Event()
        self._servicer = InferenceServicer(self._shard, self._host, self._device, self._draining)
        self.servicers = (
            Servicer(
                "facet.inference.v1.InferenceService",
                inference_pb2_grpc.add_InferenceServiceServicer_to_server,
                self._servicer,
            ),
        )

    async def start(self, background: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """Load and warm, then start to ask for work."""
        await self._host.try_refresh()
        background(self._device.run())
        background(self._shard.expire_grants())
        background(self._host.follow())
        background(self._host.obey())
        background(
            follow_leader(self._registry, SCHEDULER_ROLE, self._shard.session, self._scheduler_tls)
        )

    def metrics(self) -> Iterable[Metric]:
        """Tell what the device has run, and which models are here."""
        yield from device_metrics(self._device.load, self._device.tally)
        yield from model_metrics(self._host)

    async def drain(self) -> None:
        """Finish the grants in hand, then end the streams."""
        await self._shard.drain()
        self._draining.set()

    async def close(self) -> None:
        """Stop the device and unload the models."""
        self._trials.stop()
        self._device.close()
        self._repository.close()
        self._host.close()

    def _models_changed(self) -> None:
        self._shard.models_changed()
        self._servicer.models_changed()


def main() -> None:
    """Run a shard until SIGTERM."""
    os.environ.update(QUIET_ENVIRONMENT)
    run_service(NAME, InferenceSettings, InferenceShard)


if __name__ == "__main__":
    main()
