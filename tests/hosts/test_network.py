"""Hosts on a switch: they reach each other, and nothing of them remains, whatever happens."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from benchmarks.hosts.network import ROOT, network
from tests.waiting import until

SLEEPER = ["sh", "-c", "echo up && exec sleep infinity"]

MAKE_AND_WAIT = f"""
from benchmarks.hosts.network import network
with network() as net:
    net.host("doomed").start({SLEEPER}, {{}}, 1)
    input()
"""


class Failed(Exception):
    """What a block raises; it knows what ran by then."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        super().__init__("on purpose")
        self.processes = processes


def interfaces() -> set[str]:
    """The names of this machine's interfaces that a network made."""
    return {each.name for each in Path("/sys/class/net").iterdir() if each.name[:6] == "facet-"}


async def _gone(processes: list[psutil.Process], before: set[str]) -> None:
    await until(lambda: not any(each.is_running() for each in processes))
    # The kernel takes a namespace's interfaces away a moment after its last process.
    await until(lambda: interfaces() <= before)


def _sleeping(
    maker: psutil.Process, others: frozenset[psutil.Process] = frozenset()
) -> list[psutil.Process]:
    """What runs for a switch and one host that sleeps: three times a command and its child."""
    processes = [each for each in maker.children(recursive=True) if each not in others]
    assert len(processes) == 6
    return processes


def _maker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", MAKE_AND_WAIT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )


def _make_and_fail() -> None:
    here = psutil.Process()
    others = frozenset(here.children(recursive=True))
    with network() as net:
        sleeper = net.host("alone").start(SLEEPER, {}, subprocess.PIPE)
        assert sleeper.stdout is not None
        with sleeper.stdout:
            assert sleeper.stdout.readline() == b"up\n"
        raise Failed(_sleeping(here, others))


async def test_nothing_remains_of_a_network_whose_block_fails(namespaces: None) -> None:
    before = interfaces()
    with pytest.raises(Failed) as failed:
        _make_and_fail()
    await _gone(failed.value.processes, before)


async def test_nothing_remains_of_a_network_whose_maker_is_killed(namespaces: None) -> None:
    before = interfaces()
    maker = _maker()
    assert maker.stdin is not None
    assert maker.stdout is not None
    with maker.stdin, maker.stdout:
        assert maker.stdout.readline() == b"up\n"
        processes = _sleeping(psutil.Process(maker.pid))
        maker.kill()
        maker.wait()
        await _gone(processes, before)
