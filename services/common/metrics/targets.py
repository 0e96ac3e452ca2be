"""The instances of a registry, as Prometheus reads them from a file (file_sd_configs).

For clusters whose registry is a folder; of Consul Prometheus asks itself.
"""

import asyncio
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.common.errors import RegistryError
from services.common.metrics.process_metrics import PORT_KEY
from services.common.registry import Instance, Registry


def target_groups(instances: Iterable[Instance]) -> list[dict[str, Any]]:
    """Return a target group for each instance that can be scraped, sorted by service and id."""
    return [
        {
            "targets": [replace(each, port=int(each.meta[PORT_KEY])).address],
            "labels": {"service": each.service, "instance": each.id},
        }
        for each in sorted(instances, key=lambda each: (each.service, each.id))
        if PORT_KEY in each.meta
    ]


async def current_targets(registry: Registry, services: Sequence[str]) -> list[dict[str, Any]]:
    """Return the groups of these services now; raises RegistryError."""
    found = await asyncio.gather(*(registry.instances(service) for service in services))
    return target_groups(instance for each in found for instance in each)


async def keep_file(registry: Registry, services: Sequence[str], path: Path) -> None:
    """Write the file, and again whenever instances come or go, until cancelled.

    Raises RegistryError when it cannot be written. It is replaced as a whole: Prometheus never
    reads half of it.
    """
    known: dict[str, tuple[Instance, ...]] = {}

    async def follow(service: str) -> None:
        async for view in registry.watch(service):
            known[service] = view.instances
            if len(known) == len(services):
                _write(path, target_groups(each for found in known.values() for each in found))

    try:
        async with asyncio.TaskGroup() as following:
            for service in services:
                following.create_task(follow(service))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None


def _write(path: Path, groups: list[dict[str, Any]]) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(json.dumps(groups, indent=2) + "\n", encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise RegistryError(f"cannot write {path}: {error.strerror}") from error
