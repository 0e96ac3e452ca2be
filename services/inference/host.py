"""The model versions that a shard holds: what it is told to, or what there is room for."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from facet.inference.v1 import inference_pb2
from facet.scheduler.v1 import scheduler_pb2
from facet.type.v1 import model_pb2
from services.common.errors import (
    FacetError,
    ModelNotFoundError,
    ModelRefusedError,
    UnavailableError,
)
from services.common.models.key import ModelKey
from services.common.models.repository import Generation, ModelRepository
from services.inference.loaded_model import LoadedModel
from services.inference.shelf import Shelf, ShelfReader

log = structlog.get_logger(__name__)

POLL_S: Final = 1.0
"""How often the repository is looked at for new versions and decisions."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """What a version took when it was loaded."""

    memory_bytes: int
    """0: not known."""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why a version could not be loaded."""

    reason: str
    passes: bool
    """Its files were out of reach: it is tried again before the repository changes."""


class ModelHost:
    """Loads versions beside the serving path, one at a time, and unloads what is not to be held.

    While a scheduler leads it says what to hold (`hold`). Without one the host holds what names
    lead to and what it was told last, as far as there is room and the repository still has it.
    A new version is loaded and warmed first and offered then. One that must not be served is
    refused, with the reason, and not tried again until the repository changes.
    """

    def __init__(
        self,
        repository: ModelRepository,
        load: Callable[[ModelKey, bool], LoadedModel],
        on_change: Callable[[], None],
        *,
        shard: str,
        keep_versions: int,
        max_batch: int,
        budget_bytes: int,
    ) -> None:
        """`on_change` is called whenever anything changes that this object tells.

        `load(key, serving)` loads a version; while the shard is `serving`, at nobody's cost.
        """
        self._repository = repository
        self._load = load
        self._on_change = on_change
        self._shard = shard
        self._max_batch = max_batch
        self._budget_bytes = budget_bytes
        self._reader = ShelfReader(repository, keep_versions)
        self._shelf = Shelf()
        self._told: tuple[ModelKey, ...] | None = None
        self._last_told: tuple[ModelKey, ...] = ()
        self._loaded: dict[ModelKey, LoadedModel] = {}
        self._failed: dict[ModelKey, _Failure] = {}
        self._taken: dict[ModelKey, _Taken] = {}
        self.loads: Counter[str] = Counter(loaded=0, refused=0)
        """Attempts to load a version, by what came of them."""
        self._engines_run: set[str] = set()
        self._serving = False
        self._generation: Generation | None = None
        self._settling = asyncio.Lock()
        self._due = asyncio.Event()
        # One at a time: loading competes with serving for the same cores. Not at a lower priority:
        # it would be kept from the processor now and then while it holds Python's lock.
        self._thread = ThreadPoolExecutor(1, "loader")

    @property
    def refused(self) -> Mapping[ModelKey, str]:
        """Versions that could not be loaded, and why."""
        failed = {key: failure.reason for key, failure in self._failed.items()}
        return {**self._shelf.refused, **failed}

    @property
    def descriptors(self) -> list[model_pb2.ModelDescriptor]:
        """Descriptors of all loaded versions, sorted."""
        return [self._loaded[key].descriptor for key in sorted(self._loaded)]

    @property
    def ensembles(self) -> list[model_pb2.ModelDescriptor]:
        """Descriptors of the versions that are made of others, sorted."""
        return [self._shelf.ensembles[key] for key in sorted(self._shelf.ensembles)]

    @property
    def releases(self) -> Sequence[inference_pb2.ModelReleases]:
        """What the repository has, loaded or not."""
        return self._shelf.releases

    def shelf_message(self) -> scheduler_pb2.Shelf:
        """Return what may be held here, for the scheduler."""
        message = scheduler_pb2.Shelf(budget_bytes=self._budget_bytes)
        for key, shelved in sorted(self._shelf.models.items()):
            taken = self._taken.get(key)
            message.models.add(
                model=key.to_message(),
                memory_bytes=self._memory_bytes(key),
                load_us=int(taken.seconds * 1e6) if taken else 0,
                standing=shelved.standing.value,
                refused=key in self._failed,
            )
        return message

    def find(self, key: ModelKey) -> LoadedModel:
        """Return a loaded version; ModelNotFoundError when it is not."""
        model = self._loaded.get(key)
        if model is None:
            raise ModelNotFoundError(f"this shard has not loaded {key}")
        return model

    def describe(self, key: ModelKey) -> model_pb2.ModelDescriptor:
        """Return the descriptor of a version that need not be loaded.

        Raises ModelNotFoundError, and ModelRefusedError with the reason.
        """
        if (model := self._loaded.get(key)) is not None:
            return model.descriptor
        if (ensemble := self._shelf.ensembles.get(key)) is not None:
            return ensemble
        if (reason := self.refused.get(key)) is not None:
            raise ModelRefusedError(f"{key} is not served: {reason}")
        if (shelved := self._shelf.models.get(key)) is None:
            raise ModelNotFoundError(f"the model repository has no {key} that may be served")
        return shelved.manifest.to_descriptor(max_batch=self._max_batch, engine="")

    def hold(self, keys: Iterable[ModelKey] | None) -> None:
        """Hold these from now on, and load what is missing in this order; None: nobody says."""
        if keys is not None:
            self._told = self._last_told = tuple(keys)
        else:
            self._told = None
        self._due.set()

    async def refresh(self) -> None:
        """Read what is new in the repository; unload and load what follows from it."""
        async with self._settling:
            loop = asyncio.get_running_loop()
            generation = await loop.run_in_executor(self._thread, self._repository.generation)
            if generation != self._generation:
                self._put_up(await loop.run_in_executor(self._thread, self._reader.read))
                self._generation = generation
            self._forget_passing_failures()
            await self._settle()

    async def try_refresh(self) -> None:
        """Refresh, or go on with what is loaded while the repository cannot be read."""
        try:
            await self.refresh()
        except (FacetError, OSError) as error:
            log.warning("cannot read the model repository", error=str(error))

    async def follow(self) -> None:
        """Look for new versions, until cancelled."""
        self._serving = True
        while True:
            await asyncio.sleep(POLL_S)
            await self.try_refresh()

    async def obey(self) -> None:
        """Do as told, until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            async with self._settling:
                await self._settle()

    def close(self) -> None:
        """Unload everything."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        for model in self._loaded.values():
            model.version.engine.close()

    def _put_up(self, shelf: Shelf) -> None:
        changed = shelf != self._shelf
        for key, reason in shelf.refused.items():
            if key not in self._shelf.refused:
                log.warning("model refused", model=str(key), reason=reason)
        self._shelf = shelf
        self._failed.clear()  # they are tried again
        self._taken = {key: took for key, took in self._taken.items() if key in shelf.models}
        if changed:
            self._on_change()

    def _forget_passing_failures(self) -> None:
        over = [key for key, failure in self._failed.items() if failure.passes]
        for key in over:
            del self._failed[key]
        if over:
            self._on_change()

    async def _settle(self) -> None:
        """Unload and load until what is held is what is to be."""
        while True:
            self._unload_surplus()
            missing = next((key for key in self._wanted() if key not in self._loaded), None)
            if missing is None:
                return
            await self._try_load(missing)

    def _wanted(self) -> list[ModelKey]:
        if self._told is not None:
            return [key for key in self._told if key in self._shelf.models.keys() - self._failed]
        wanted = []
        room = self._budget_bytes
        for key in self._shelf.by_need(self._shard, self._last_told):
            needed = self._memory_bytes(key)
            if key not in self._failed and needed <= room:
                wanted.append(key)
                room -= needed
        return wanted

    def _unload_surplus(self) -> None:
        # What the scheduler wants to be held a little longer is not on the shelf any more, maybe.
        wanted = set(self._wanted() if self._told is None else self._told)
        for key in [key for key in self._loaded if key not in wanted]:
            # A batch that runs now holds its own reference; the engine is freed after it.
            del self._loaded[key]
            log.info("model unloaded", model=str(key))
            self._on_change()

    async def _try_load(self, key: ModelKey) -> None:
        loop = asyncio.get_running_loop()
        started = time.monotonic()
        try:
            model = await loop.run_in_executor(self._thread, self._load, key, self._serving)
        except Exception as error:  # whatever is wrong with one version, the others are served
            passes = isinstance(error, UnavailableError | OSError)
            self.loads["refused"] += 1
            self._failed[key] = _Failure(str(error) or repr(error), passes)
            unforeseen = None if isinstance(error, FacetError | OSError) else error
            log.warning("model refused", model=str(key), reason=str(error), exc_info=unforeseen)
        else:
            self.loads["loaded"] += 1
            self._loaded[key] = model
            self._taken[key] = self._what_it_took(model, time.monotonic() - started)
            log.info("model loaded", model=str(key), engine=model.descriptor.engine)
        self._on_change()

    def _what_it_took(self, model: LoadedModel, seconds: float) -> _Taken:
        engine = model.descriptor.engine
        if engine in self._engines_run:
            return _Taken(model.version.memory_bytes, seconds)
        self._engines_run.add(engine)  # what was measured is the engine's own memory as well
        return _Taken(0, seconds)

    def _memory_bytes(self, key: ModelKey) -> int:
        """What a version takes: as it was seen to, or is taken to until then."""
        if (taken := self._taken.get(key)) is not None and taken.memory_bytes:
            return taken.memory_bytes
        return self._shelf.models[key].estimated_bytes(self._max_batch)
