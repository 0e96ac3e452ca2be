"""The file that tells Prometheus whom to scrape."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.common.errors import RegistryError
from services.common.metrics.process_metrics import PORT_KEY
from services.common.metrics.targets import current_targets, keep_file, target_groups
from services.common.registry import Instance
from services.common.registry.directory import DirectoryRegistry
from tests.waiting import until

SERVICES = ("gateway", "inference")


def _instance(service: str, number: int, port: int = 9000, host: str = "127.0.0.1") -> Instance:
    return Instance(service, f"{service}-{number}", host, 5000, {PORT_KEY: str(port + number)})


def test_an_instance_is_scraped_at_its_port_for_metrics() -> None:
    quiet = Instance("gateway", "gateway-3", "10.0.0.9", 5000)
    groups = target_groups([_instance("inference", 1, host="::1"), quiet, _instance("gateway", 2)])
    assert groups == [
        {
            "targets": ["127.0.0.1:9002"],
            "labels": {"service": "gateway", "instance": "gateway-2"},
        },
        {
            "targets": ["[::1]:9001"],
            "labels": {"service": "inference", "instance": "inference-1"},
        },
    ]


async def test_the_file_follows_the_registry(tmp_path: Path) -> None:
    registry, file = DirectoryRegistry(tmp_path / "registry"), tmp_path / "targets.json"
    keeping = asyncio.create_task(keep_file(registry, SERVICES, file))

    def names() -> list[str]:
        groups: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
        return [group["labels"]["instance"] for group in groups]

    await registry.register(_instance("gateway", 1))
    shard = await registry.register(_instance("inference", 1))
    await until(lambda: names() == ["gateway-1", "inference-1"])
    assert json.loads(file.read_text()) == await current_targets(registry, SERVICES)
    await shard.withdraw()
    await until(lambda: names() == ["gateway-1"])
    keeping.cancel()
    await asyncio.wait([keeping])
    await registry.close()


async def test_a_file_that_cannot_be_written_is_said_in_a_sentence(tmp_path: Path) -> None:
    registry = DirectoryRegistry(tmp_path / "registry")
    with pytest.raises(RegistryError, match="cannot write"):
        await keep_file(registry, SERVICES, tmp_path / "nowhere" / "targets.json")
    await registry.close()
