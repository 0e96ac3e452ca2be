"""Whether a process lives, and hearing of its death."""

import asyncio
import subprocess
import sys
from dataclasses import replace

from services.common.registry.processes import Deaths, Process, _start_mark

SLEEP = [sys.executable, "-c", "import sys; sys.stdin.read()"]


def _of(child: "subprocess.Popen[bytes]") -> Process:
    mark = _start_mark(child.pid)
    assert mark is not None
    return Process(child.pid, mark)


async def test_this_process_lives() -> None:
    me = Process.current()
    assert me.alive
    assert not replace(me, started="another start").alive
    assert not replace(me, pid=2**22 + 1).alive


async def test_a_death_is_told_before_anybody_waits_for_the_dead() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child:
        process = _of(child)
        told = asyncio.Event()
        deaths = Deaths(told.set)
        assert deaths.follow([process, Process.current()])
        assert process.alive
        child.kill()
        async with asyncio.timeout(10):
            await told.wait()
        assert not process.alive  # a zombie: `child.wait` was not called yet
        told.clear()
        deaths.follow([process])  # dead already: told at once
        async with asyncio.timeout(10):
            await told.wait()
        deaths.close()


async def test_a_number_that_another_process_has_by_now_is_a_death() -> None:
    with subprocess.Popen(SLEEP, stdin=subprocess.PIPE) as child:
        told = asyncio.Event()
        deaths = Deaths(told.set)
        assert deaths.follow([replace(_of(child), started="earlier")])
        async with asyncio.timeout(10):
            await told.wait()
        deaths.close()
        child.kill()
