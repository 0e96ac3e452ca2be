"""What stands in for the world where that is not the subject of a test."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Final, Self, TypeVar

import numpy as np
import numpy.typing as npt

from services.common.models.manifest import Manifest
from services.common.registry import Instance, Registration, Registry, View
from services.inference.engines.interface import Engine

T = TypeVar("T")

POISON: Final = 13
"""A picture whose first value is this makes `NumpyEngine` fail."""


class MemoryRegistry(Registry):
    """A registry for everybody in one process: all use the same object."""

    def __init__(self) -> None:
        self._instances: dict[str, dict[str, Instance]] = {}
        self._reachable = True
        self._candidates: dict[str, list[str]] = {}
        self._values: dict[str, bytes] = {}
        self._changed = asyncio.Event()
        self._closed = False

    async def register(self, instance: Instance) -> Registration:
        """See Registry."""
        self.enter(instance)
        return _MemoryRegistration(self, instance)

    async def instances(self, service: str) -> tuple[Instance, ...]:
        """See Registry."""
        return self._view(service).instances

    def watch(self, service: str) -> AsyncGenerator[View, None]:
        """See Registry."""
        return self._follow(lambda: self._view(service))

    async def campaign(self, role: str, candidate: str) -> AsyncGenerator[bool, None]:
        """See Registry: candidates lead in the order in which they came."""
        candidates = self._candidates.setdefault(role, [])
        candidates.append(candidate)
        self._notify()
        try:
            async for leader in self.watch_leader(role):
                yield leader == candidate
        finally:
            candidates.remove(candidate)
            self._notify()

    def watch_leader(self, role: str) -> AsyncGenerator[str | None, None]:
        """See Registry."""
        return self._follow(lambda: next(iter(self._candidates.get(role, ())), None))

    async def get(self, key: str) -> bytes | None:
        """See Registry."""
        return self._values.get(key)

    async def put(self, key: str, value: bytes) -> None:
        """See Registry."""
        self._values[key] = value

    async def delete(self, key: str) -> None:
        """See Registry."""
        self._values.pop(key, None)

    async def close(self) -> None:
        """See Registry."""
        self._closed = True
        self._notify()

    # For tests.

    def enter(self, instance: Instance) -> None:
        """Enter an instance."""
        self._instances.setdefault(instance.service, {})[instance.id] = instance
        self._notify()

    def remove(self, instance: Instance) -> None:
        """Remove an instance, as when it is found dead."""
        self._instances.get(instance.service, {}).pop(instance.id, None)
        self._notify()

    def appoint(self, role: str, *candidates: str) -> None:
        """Let the first of these lead, whoever stands for the role."""
        self._candidates[role] = list(candidates)
        self._notify()

    def set_reachable(self, reachable: bool) -> None:
        """Let the registry go away or come back."""
        self._reachable = reachable
        self._notify()

    def _view(self, service: str) -> View:
        instances = self._instances.get(service, {})
        return View(tuple(instances[name] for name in sorted(instances)), self._reachable)

    async def _follow(self, look: Callable[[], T]) -> AsyncGenerator[T, None]:
        seen: tuple[T, ...] = ()
        while not self._closed:
            changed, now = self._changed, look()
            if seen != (now,):
                seen = (now,)
                yield now
            await changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class _MemoryRegistration(Registration):
    def __init__(self, registry: MemoryRegistry, instance: Instance) -> None:
        self._registry = registry
        self._instance = instance

    async def withdraw(self) -> None:
        """See Registration."""
        self._registry.remove(self._instance)


class NumpyEngine(Engine):
    """Scores that a test can foretell: that of class c is the sum of the picture plus c."""

    name = "numpy"
    packages = ("numpy",)
    artefact_formats = ("numpy",)

    def __init__(self, manifest: Manifest) -> None:
        super().__init__(manifest, exact=True)
        self.open = threading.Event()
        self.open.set()
        self.started = threading.Event()
        self.batches: list[int] = []
        self._passes: int | None = None

    @classmethod
    def prepare(cls) -> None:
        """See Engine."""

    @classmethod
    def load(cls, path: Path, manifest: Manifest, *, threads: int) -> Self:
        """See Engine."""
        return cls(manifest)

    def close(self) -> None:
        """See Engine."""

    def hold_after(self, runs: int) -> None:
        """Let so many runs go on, and hold the next."""
        self._passes = runs
        self.open.set()

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See Engine; waits while `open` is not set."""
        self.started.set()
        self.open.wait(60)
        if self._passes is not None:
            self._passes -= 1
            if self._passes == 0:
                self._passes = None
                self.open.clear()
        self.batches.append(len(images))
        return super().run(images)

    def _predict(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        flat = images.reshape(len(images), -1)
        if (flat[:, 0] == POISON).any():
            raise ValueError("poison")
        scores: npt.NDArray[np.float32] = flat.sum(axis=1, dtype=np.float32)[:, None] + np.arange(
            self._classes, dtype=np.float32
        )
        return scores
