"""Whether a process lives, and hearing of its death."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest

from services.common.registry.processes import Deaths, Process, _start_mark


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def _of(child: "subprocess.Popen[bytes]") -> Process:
    mark = _start_mark(child.pid)
    assert mark is not None
    return Process(child.pid, mark)


async def test_this_process_lives() -> None:
    me = Process.current()
    assert me.is_alive()
    assert not replace(me, started="another start").is_alive()
    assert not replace(me, pid=2**22 + 1).is_alive()


async def test_a_death_is_told_before_anybody_waits_for_the_dead(
    child: "subprocess.Popen[bytes]",
) -> None:
    process = _of(child)
    told = asyncio.Event()
    deaths = Deaths(told.set)
    assert deaths.follow([process, Process.current()])
    assert process.is_alive()
    child.kill()
    async with asyncio.timeout(10):
        await told.wait()
    assert not process.is_alive()  # a zombie: nobody has waited for it yet
    told.clear()
    deaths.follow([process])  # dead already: told at once
    async with asyncio.timeout(10):
        await told.wait()
    deaths.close()


async def test_a_number_that_another_process_has_by_now_is_a_death(
    child: "subprocess.Popen[bytes]",
) -> None:
    told = asyncio.Event()
    deaths = Deaths(told.set)
    assert deaths.follow([replace(_of(child), started="earlier")])
    async with asyncio.timeout(10):
        await told.wait()
    deaths.close()
