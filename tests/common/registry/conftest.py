"""Registries, children that use them, and the proof that neither leaves anything behind."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.registry import Registry, open_registry
from services.common.registry.access import ConsulAccess
from tests.common.registry.helpers import Child, OpenRegistry, StartChild
from tests.conftest import ROOT
from tests.fixtures_consul import (  # noqa: F401
    consul_binary,
    consul_server,
    consul_url,
    shared_consul,
)


@pytest.fixture(autouse=True)
async def nothing_leaks() -> AsyncIterator[None]:
    """Fail a test after which tasks or descriptors are left."""
    tasks, descriptors = _other_tasks(), _descriptors()
    yield
    deadline = asyncio.get_running_loop().time() + 5
    # Closed transports give back their descriptors a turn of the loop later.
    while _descriptors() - descriptors or _other_tasks() - tasks:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(0.02)
    assert not _other_tasks() - tasks
    assert not {_target(number) for number in _descriptors() - descriptors}


@pytest.fixture(params=["directory", "consul"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty registry, of each kind in turn."""
    if request.param == "directory":
        return (tmp_path / "registry").as_uri()
    consul: str = request.getfixturevalue("consul_url")
    return consul


@pytest.fixture
async def opened() -> AsyncIterator[OpenRegistry]:
    """Opens registries and closes them after the test."""
    registries = []

    def open_one(
        url: str, consul_token: str | None = None, token_file: Path | None = None
    ) -> Registry:
        registries.append(open_registry(url, ConsulAccess(consul_token, token_file)))
        return registries[-1]

    yield open_one
    for registry in registries:
        await registry.close()


@pytest.fixture
async def start_child() -> AsyncIterator[StartChild]:
    """Starts children and stops them after the test."""
    children = []

    async def start(url: str, *words: str) -> Child:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.common.registry.child", url, *words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )
        children.append(Child(process))
        return children[-1]

    yield start
    for child in children:
        await child.kill()


def _other_tasks() -> set[asyncio.Task[object]]:
    return asyncio.all_tasks() - {asyncio.current_task()}


def _descriptors() -> set[int]:
    return {int(name) for name in os.listdir("/proc/self/fd") if _target(int(name))}


def _target(number: int) -> str:
    # The listing's own descriptor is closed by the time it is looked at.
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/self/fd/{number}")
    return ""
