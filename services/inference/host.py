"""The model versions that a shard has loaded, kept in step with the repository."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from facet.type.v1 import model_pb2
from services.common.errors import FacetError, ModelNotFoundError, UnavailableError
from services.common.models.key import ModelKey
from services.common.models.repository import Generation, ModelRepository
from services.common.scheduling.costs import Cost, Ran, prior
from services.inference.engines.loading import LoadedVersion, load_version

log = structlog.get_logger(__name__)

PIECE_SECONDS: Final = 0.25e-3
"""CPU time that the cluster spends on the way of one piece."""

POLL_S: Final = 1.0
"""How often the repository is looked at for new versions."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A version that can run."""

    key: ModelKey
    version: LoadedVersion
    descriptor: model_pb2.ModelDescriptor


class ModelHost:
    """Loads every model's newest versions beside the serving path.

    A new version is loaded and warmed first and offered then; versions beyond the newest
    `keep_versions` are unloaded. One that must not be served is refused, with the reason, and
    not tried again until its files change. One whose files could not be had is tried again.
    """

    def __init__(
        self,
        repository: ModelRepository,
        load: Callable[[ModelKey], LoadedModel],
        keep_versions: int,
        on_change: Callable[[], None],
    ) -> None:
        self._repository = repository
        self._load = load
        self._keep_versions = keep_versions
        self._on_change = on_change
        self._loaded: dict[ModelKey, LoadedModel] = {}
        self._refused: dict[ModelKey, str] = {}
        self._out_of_reach: set[ModelKey] = set()
        self._generation: Generation | None = None
        # One at a time: loading competes with serving for the same cores.
        self._thread = ThreadPoolExecutor(1, "loader")

    @property
    def refused(self) -> Mapping[ModelKey, str]:
        """Versions that could not be loaded, and why."""
        return self._refused

    @property
    def descriptors(self) -> list[model_pb2.ModelDescriptor]:
        """Descriptors of all loaded versions, sorted."""
        return [self._loaded[key].descriptor for key in sorted(self._loaded)]

    def find(self, key: ModelKey) -> LoadedModel:
        """Return a loaded version; ModelNotFoundError when it is not."""
        model = self._loaded.get(key)
        if model is None:
            raise ModelNotFoundError(f"this shard has not loaded {key}")
        return model

    async def refresh(self) -> None:
        """Load what is new in the repository and unload what is superseded or gone."""
        loop = asyncio.get_running_loop()
        generation = await loop.run_in_executor(self._thread, self._repository.generation)
        changed = generation != self._generation
        if not changed and not self._out_of_reach:
            return
        wanted = await loop.run_in_executor(self._thread, self._wanted)
        for key in wanted:
            if key not in self._loaded and (changed or key in self._out_of_reach):
                await self._try_load(key)
        self._forget(wanted)
        self._generation = generation

    async def try_refresh(self) -> None:
        """Refresh, or go on with what is loaded while the repository cannot be read."""
        try:
            await self.refresh()
        except (FacetError, OSError) as error:
            log.warning("cannot read the model repository", error=str(error))

    async def follow(self) -> None:
        """Look for new versions until cancelled."""
        while True:
            await asyncio.sleep(POLL_S)
            await self.try_refresh()

    def close(self) -> None:
        """Unload everything."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for model in self._loaded.values():
            model.version.engine.close()

    def _wanted(self) -> list[ModelKey]:
        return [
            ModelKey(name, version)
            for name in self._repository.list_models()
            for version in sorted(self._repository.versions(name))[-self._keep_versions :]
        ]

    async def _try_load(self, key: ModelKey) -> None:
        loop = asyncio.get_running_loop()
        self._out_of_reach.discard(key)
        try:
            self._loaded[key] = await loop.run_in_executor(self._thread, self._load, key)
        except Exception as error:  # whatever is wrong with one version, the others are served
            self._refused[key] = str(error) or repr(error)
            if isinstance(error, UnavailableError):
                self._out_of_reach.add(key)
            unforeseen = None if isinstance(error, FacetError | OSError) else error
            log.warning("model refused", model=str(key), reason=str(error), exc_info=unforeseen)
        else:
            self._refused.pop(key, None)
            log.info("model loaded", model=str(key), engine=self._loaded[key].descriptor.engine)
        self._on_change()

    def _forget(self, wanted: Iterable[ModelKey]) -> None:
        gone = (self._refused.keys() | self._loaded.keys()) - set(wanted)
        self._out_of_reach -= gone
        for key in gone:
            self._refused.pop(key, None)
            # A batch that runs now holds its own reference; the engine is freed after it.
            if self._loaded.pop(key, None) is not None:
                log.info("model unloaded", model=str(key))
        if gone:
            self._on_change()


def load_model(
    repository: ModelRepository, key: ModelKey, *, engine: str, threads: int, max_batch: int
) -> LoadedModel:
    """Load, verify and warm one version; ModelRefusedError with the reason when it must not run."""
    loaded = load_version(
        repository,
        key.name,
        key.version,
        batch_sizes=warm_sizes(max_batch),
        preference=engine,
        threads=threads,
    )
    cost = prior(Ran(size, loaded.plan.seconds(size)) for size in warm_sizes(max_batch))
    descriptor = loaded.manifest.to_descriptor(max_batch=max_batch, engine=loaded.engine.name)
    descriptor.batch_seconds = cost.a
    descriptor.image_seconds = cost.c
    descriptor.piece_images = piece_images(cost, max_batch)
    return LoadedModel(key, loaded, descriptor)


def piece_images(cost: Cost, max_batch: int) -> int:
    """Return how many images of one request to keep together.

    At 2a/c images the fixed cost of a batch is a third of it: larger pieces gain little and
    leave other shards idle. What the cluster spends on a piece counts as part of a.
    """
    wanted = round(2 * (cost.a + PIECE_SECONDS) / cost.c)
    return min(max(wanted, 1), max_batch)


def warm_sizes(max_batch: int) -> list[int]:
    """Batch sizes to warm: the powers of two up to `max_batch`, and `max_batch`."""
    return sorted({*(1 << power for power in range(max_batch.bit_length())), max_batch})
